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

    let sources = ["deform_attn_ops", "deform_attn_cuda_ops", "dropout_ops", "function_transforms", "rust_api"];
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include("cuda/registration/missing")
        .files(sources.map(source))
        .file("cuda/torch_versions/libtorch_functions.cpp");
    let python = std::env::var_os("CARGO_FEATURE_PYTHON").is_some();
    if python {
        build.file(source("python_tensor"));
        println!("cargo:rustc-link-lib=dylib=torch_python");
    }
    build.compile("dsct_ops");
    println!("cargo:rustc-link-search=native={}", lib.display());
    for name in ["torch_cpu", "torch", "c10"] {
        println!("cargo:rustc-link-lib=dylib={name}");
    }
    if !python {
        // Tests and examples start without Python, so they must find libtorch by themselves.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}

fn source(name: &str) -> PathBuf {
    Path::new("cuda/registration").join(name).with_extension("cpp")
}
