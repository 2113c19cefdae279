//! Compiles the registration of the operators, `cuda/registration/`, with a C++ compiler against the libtorch that
//! torch-sys links. No CUDA toolkit, no Python headers.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=cuda");
    // Clippy reads Rust and links nothing; cargo keeps what it does apart from what builds do.
    if std::env::var("RUSTC_WORKSPACE_WRAPPER").is_ok_and(|wrapper| wrapper.contains("clippy")) {
        return;
    }
    if std::env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    // Set by torch-sys's build script: the `lib` folder of the libtorch that it found.
    let lib = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names its libtorch folder"));
    let include = lib.parent().expect("libtorch has a root folder").join("include");

    let mut sources = vec![
        "registration/deform_attn_ops",
        "registration/deform_attn_cuda_ops",
        "registration/dropout_ops",
        "registration/function_transforms",
        "registration/rust_api",
        "torch_versions/libtorch_functions",
    ];
    let python = std::env::var_os("CARGO_FEATURE_PYTHON").is_some();
    if python {
        sources.push("registration/python_tensor");
        println!("cargo:rustc-link-lib=dylib=torch_python");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include("cuda/registration/missing")
        .file(together(&sources))
        .compile("dsct_ops");
    println!("cargo:rustc-link-search=native={}", lib.display());
    for name in ["torch_cpu", "torch", "c10"] {
        println!("cargo:rustc-link-lib=dylib={name}");
    }
    if !python {
        // Tests and examples start without Python, so they must find libtorch by themselves.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}

/// One file that includes all: torch's headers, which each of them needs, take far longer to compile than they do.
fn together(sources: &[&str]) -> PathBuf {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the folder of the package");
    let include = |name: &&str| format!("#include \"{root}/cuda/{name}.cpp\"\n");
    let out = std::env::var_os("OUT_DIR").expect("cargo names a folder for what is built");
    let file = Path::new(&out).join("dsct_ops.cpp");
    std::fs::write(&file, sources.iter().map(include).collect::<String>()).expect("the folder can be written to");
    file
}
