//! Weights files whose bytes were changed: they are read as what they are, or refused. `PROPTEST_CASES` asks for more.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use dsct::checkpoint::Checkpoint;
use dsct::DsctConfig;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, Index};
use proptest::test_runner::RngSeed;

/// Two tensors of 6 float32 and 3 float16, and the metadata of a model.
fn weights() -> Vec<u8> {
    let config = serde_json::to_string(&DsctConfig::tiny().to_json()).unwrap();
    let tensors = r#""a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[3],"data_offsets":[24,30]}"#;
    let header = format!(r#"{{"__metadata__":{{"dsct_config":{config}}},{tensors}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend([0x3c; 30]);
    file
}

fn read(content: &[u8], name: &str) -> dsct::Result<Checkpoint> {
    let path: PathBuf = std::env::temp_dir().join(format!("dsct-{}-{name}.safetensors", std::process::id()));
    std::fs::write(&path, content).unwrap();
    let found = Checkpoint::read(&path);
    std::fs::remove_file(&path).unwrap();
    found
}

#[test]
fn the_undamaged_file_is_read() {
    let found = read(&weights(), "sound").unwrap();
    assert_eq!(found.config, DsctConfig::tiny());
    assert_eq!((found.tensors["a"].size(), found.tensors["b"].size()), (vec![3, 2], vec![3]));
}

fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.max(2048), failure_persistence: None, rng_seed: RngSeed::Fixed(0), ..given }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn damaged_files_are_read_or_refused(
        edits in vec((any::<Index>(), select(vec![16, 400, 4000]), select(b"\x00\x01\xff\"{}[]0129-:,eE.aF".to_vec())), 0..6),
        end in proptest::option::weighted(0.2, any::<Index>()),
    ) {
        let mut content = weights();
        for (index, within, byte) in edits {
            // Counted from the end of the header too, where the tensors are.
            let at = index.index(content.len().min(within));
            let at = if within == 400 { content.len() - 1 - at } else { at };
            content[at] = byte;
        }
        if let Some(end) = end {
            content.truncate(end.index(content.len()));
        }
        match read(&content, "damaged") {
            Ok(found) => {
                let bytes: usize = found.tensors.values().map(|tensor| tensor.numel() * tensor.kind().elt_size_in_bytes()).sum();
                prop_assert!(bytes <= content.len());
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
