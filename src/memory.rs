//! Memory, asked for before it is filled: where there is none, Rust's own containers end the process.

use crate::{Error, Result};

/// Whether `bytes` for each of `count` numbers, given as factors, can be had.
///
/// # Errors
/// They cannot.
pub(crate) fn require(op: &str, count: &[usize], bytes: usize) -> Result<()> {
    let refuse = || Error::OutOfMemory(format!("{op}: out of memory, arguments ask for {count:?} numbers"));
    let total = count.iter().try_fold(bytes, |product, &factor| product.checked_mul(factor)).ok_or_else(refuse)?;
    let mut room = Vec::<u8>::new();
    let granted = room.try_reserve_exact(total).is_ok();
    // An allocation that nothing reads would be optimised away, and with it the answer.
    std::hint::black_box(&room);
    if granted {
        Ok(())
    } else {
        Err(refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused() {
        require("op", &[3, 0, 1 << 60], 8).unwrap();
        for count in [[1 << 30, 1 << 29], [1 << 40, 1 << 40]] {
            let text = require("op", &count, 8).unwrap_err().to_string();
            assert!(text.starts_with("op: out of memory, arguments ask for ["), "{text}");
        }
    }
}
