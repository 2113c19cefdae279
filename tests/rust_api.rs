//! The crate from Rust: the operator against its reference, gradients through the dispatcher, errors.

#![allow(clippy::unwrap_used)]

use dsct::ops::deform_attn_reference::{forward, ReferenceShape};
use dsct::ops::ms_deform_attn;
use dsct::{DsctConfig, Error, Params};
use tch::{Device, Kind, Tensor};

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap()
}

fn inputs(shape: &ReferenceShape) -> (Tensor, Tensor, Tensor) {
    let [b, m, d, q, p] = [shape.b, shape.m, shape.d, shape.q, shape.p].map(|n| n as i64);
    let (s, l) = (shape.cells() as i64, shape.levels.len() as i64);
    let value = Tensor::randn([b, s, m, d], OPTIONS);
    let locations = Tensor::rand([b, q, m, l, p, 2], OPTIONS) * 1.4 - 0.2;
    (value, locations, Tensor::rand([b, q, m, l, p], OPTIONS))
}

fn levels(shape: &ReferenceShape) -> Vec<(i64, i64)> {
    shape.levels.iter().map(|&(h, w)| (h as i64, w as i64)).collect()
}

#[test]
fn operator_equals_the_obvious_loops() {
    tch::manual_seed(0);
    for (d, q) in [(1, 1), (4, 3), (16, 20), (32, 5), (48, 2), (64, 2)] {
        let shape = ReferenceShape { b: 2, m: 3, d, q, p: 2, levels: vec![(4, 3), (2, 5), (1, 1)] };
        let (value, locations, weights) = inputs(&shape);
        let out = ms_deform_attn(&value, &levels(&shape), &locations, &weights).unwrap();
        let expected = forward(&shape, &numbers(&value), &numbers(&locations), &numbers(&weights));
        assert_eq!(out.size(), [2, q as i64, 3 * d as i64]);
        for (a, b) in numbers(&out).iter().zip(&expected) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }
}

#[test]
fn gradients_flow_through_the_dispatcher() {
    let shape = ReferenceShape { b: 1, m: 2, d: 4, q: 3, p: 2, levels: vec![(3, 3)] };
    let (value, locations, weights) = inputs(&shape);
    let value = value.set_requires_grad(true);
    let out = ms_deform_attn(&value, &levels(&shape), &locations, &weights).unwrap();
    // The operator is linear in the value: ⟨gradient of the sum, value⟩ is the sum.
    out.sum(Kind::Double).backward();
    let inner = (value.grad() * &value).sum(Kind::Double).double_value(&[]);
    assert!((inner - out.sum(Kind::Double).double_value(&[])).abs() < 1e-9);
}

#[test]
fn errors_name_the_argument() {
    let shape = ReferenceShape { b: 1, m: 2, d: 4, q: 3, p: 2, levels: vec![(3, 3)] };
    let (value, locations, weights) = inputs(&shape);
    let error = ms_deform_attn(&value, &[(3, 4)], &locations, &weights).unwrap_err();
    assert!(matches!(&error, Error::Value(text) if text.contains("spatial_shapes")), "{error}");
    let error = ms_deform_attn(&value, &[(3, 3)], &locations.to_kind(Kind::Int), &weights).unwrap_err();
    assert!(matches!(&error, Error::Type(text) if text.contains("sampling_locations")), "{error}");
    let empty = dsct::params::TensorMap::default();
    let Err(error) = dsct::Dsct::new(DsctConfig::tiny(), &Params::new(&empty)) else { panic!("no parameters") };
    assert!(matches!(&error, Error::MissingParameter(path) if path.contains("query_embed_dsct")), "{error}");
}

#[test]
fn a_missing_file_is_an_io_error() {
    let Err(error) = dsct::checkpoint::Checkpoint::read("no/such.safetensors") else { panic!("no file") };
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
