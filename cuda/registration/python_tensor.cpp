// torch.Tensor (Python) <-> at::Tensor (C++) for src/python/tensor.rs.
//
// Built for the Python extension only. Python.h is not needed: a Python tensor tells the address of its TensorImpl
// (`Tensor._cdata`), and the way back is one exported function of libtorch_python.
#include <ATen/core/Tensor.h>

struct _object;
_object* THPVariable_Wrap(const at::TensorBase& var);

extern "C" {

// A new reference to the tensor whose TensorImpl is `impl`; the caller holds the Python object meanwhile.
at::Tensor* dsct_tensor_from_impl(c10::TensorImpl* impl) {
  try {
    return new at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::unsafe_reclaim_from_nonowning(impl));
  } catch (...) {
    return nullptr;
  }
}

// A new Python reference, or null with a Python exception set. Needs the GIL.
_object* dsct_tensor_to_python(const at::Tensor* tensor) {
  try {
    return THPVariable_Wrap(*tensor);
  } catch (...) {
    return nullptr;
  }
}
}
