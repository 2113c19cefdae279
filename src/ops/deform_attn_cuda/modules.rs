//! Kernels in a form that can be launched: compiled once per specialisation and machine, loaded once per device.
//!
//! One mutex guards the table, also while a module is compiled, so that threads that want the same one wait for it.
//! Nothing under it calls Python.

use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::cache::{Cache, Key};
use super::driver::{Current, Device, Function};
use super::nvrtc::{nvrtc, Target};
use super::pass::Pass;
use super::plan::Launch;
use super::specialisation::Specialisation;

/// Flags of every compilation, besides the specialisation and the architecture.
const FLAGS: &[&str] = &["--std=c++17", "--disable-warnings"];

/// Where a module came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Compiled,
    Disk,
    Memory,
}

/// The kernels of a module, with the dynamic shared memory that each may ask for so far.
type Kernels = HashMap<&'static str, (Function, u32)>;

/// One compilation.
pub(super) type Unit = (Specialisation, Pass);

type Table = HashMap<(i32, Unit), Kernels>;

fn with_table<T>(f: impl FnOnce(&mut Table) -> T) -> T {
    static TABLE: OnceLock<Mutex<Table>> = OnceLock::new();
    f(&mut TABLE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner))
}

/// All flags that depend on what is compiled, not on the GPU.
pub(super) fn flags(specialisation: &Specialisation) -> Vec<String> {
    FLAGS.iter().map(|&flag| flag.to_owned()).chain(specialisation.defines()).collect()
}

fn image(device: &Device, (specialisation, pass): &Unit) -> Result<(Vec<u8>, Origin), String> {
    let nvrtc = nvrtc()?;
    let target = Target::choose(device.gpu.compute_capability, &nvrtc.architectures)?;
    let flags = flags(specialisation);
    let (cache, key) = (Cache::from_environment(), Key::new(pass.source(), &flags, &target.flag(), nvrtc.version));
    if let Some(image) = cache.load(&key) {
        return Ok((image, Origin::Disk));
    }
    let image = nvrtc.compile(pass.source(), &flags, target)?.image;
    cache.store(&key, &image);
    Ok((image, Origin::Compiled))
}

/// All kernels are looked up at once: the driver may put off the work of loading until then, and a later capture of a
/// graph must not meet it.
fn loaded<'t>(table: &'t mut Table, current: &Current<'_>, unit: Unit) -> Result<(&'t mut Kernels, Origin), String> {
    let device = current.device();
    match table.entry((device.ordinal, unit)) {
        Entry::Occupied(entry) => Ok((entry.into_mut(), Origin::Memory)),
        Entry::Vacant(entry) => {
            let (image, origin) = image(device, &unit)?;
            let names = unit.1.kernels(&unit.0);
            let functions = current.load(&image, names)?;
            let kernels = names.iter().zip(functions).map(|(&name, function)| (name, (function, 0)));
            Ok((entry.insert(kernels.collect()), origin))
        }
    }
}

/// Loads a module if this device does not have it yet.
pub(super) fn load(current: &Current<'_>, unit: Unit) -> Result<Origin, String> {
    with_table(|table| loaded(table, current, unit).map(|(_, origin)| origin))
}

/// The kernel of a launch, allowed to use the shared memory that the launch asks for.
pub(super) fn kernel(current: &Current<'_>, unit: Unit, launch: &Launch) -> Result<Function, String> {
    with_table(|table| {
        let (kernels, _) = loaded(table, current, unit)?;
        let (function, allowed) = kernels.get_mut(launch.kernel).ok_or("not in this module")?;
        // Above 48 KB, less what the kernel uses statically, shared memory has to be asked for.
        if launch.shared_bytes > *allowed {
            current.allow_shared_memory(*function, launch.shared_bytes)?;
            *allowed = launch.shared_bytes;
        }
        Ok(*function)
    })
}
