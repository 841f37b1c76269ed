/* This backend's own kernels, one module. Each takes one struct of kernel_parameters.h. */
#include "backend/cuda/element.cuh"
// The order matters: what follows uses element.cuh.
#include "backend/cuda/moves.cuh"
#include "backend/cuda/order.cuh"
#include "backend/cuda/places.cuh"
#include "backend/cuda/pointwise.cuh"
#include "backend/cuda/recurrent.cuh"
#include "backend/cuda/rows.cuh"
#include "backend/cuda/windows.cuh"
// After windows.cuh, whose packed loads and stores it uses.
#include "backend/cuda/stem.cuh"
