//! The extension module `dsct._dsct`. The only folder that names pyo3: parse, release the GIL, call, map the error.

mod array;
mod config;
mod criterion;
mod error;
mod gateway;
mod kernels;
mod metrics;
mod model;
mod standalone;
mod tensor;

use pyo3::prelude::*;

extern "C" {
    fn dsct_ops_anchor();
}

#[pymodule(gil_used = true)]
fn _dsct(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // SAFETY: does nothing. The reference makes the linker keep the object whose static initialisers register the
    // operators with torch.
    unsafe { dsct_ops_anchor() }
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("DsctError", module.py().get_type::<error::DsctError>())?;
    module.add_class::<config::PyConfig>()?;
    criterion::register(module)?;
    kernels::register(module)?;
    metrics::register(module)?;
    model::register(module)?;
    standalone::register(module)
}
