//! Every variant of every kernel that some device takes: what the contract test and the browser's compiler look at.
#![allow(dead_code)]

use hearth_gpu::kernel::Kernel;
use hearth_gpu::kv::PageShape;
use hearth_gpu::ops::attention::{self, AttentionShape};
use hearth_gpu::ops::embed;
use hearth_gpu::ops::matmul::{self, Epilogue, Gate, MatmulVariant};
use hearth_gpu::ops::norm::{self, NormShape};
use hearth_gpu::ops::quantize;
use hearth_gpu::ops::sample::{self, SampleShape};
use hearth_gpu::ops::shift;
use hearth_gpu::repack::WeightFormat;
use hearth_gpu::{Capabilities, KvType, SubgroupSizes, select};

/// WebGPU's default limit.
pub const MAX_WORKGROUP_BYTES: u32 = 16384;
/// WebGPU's default limit.
pub const MAX_INVOCATIONS: u32 = 256;
/// WebGPU's default limit.
pub const MAX_STORAGE_BUFFERS: usize = 8;

/// Of all devices.
pub fn matmul_variants() -> Vec<MatmulVariant> {
    let mut variants = Vec::new();
    for software in [true, false] {
        for subgroups in
            [None, Some(SubgroupSizes { min: 4, max: 4 }), Some(SubgroupSizes { min: 32, max: 32 })]
        {
            variants.extend(select::matmul_variants(&capabilities(software, subgroups)));
        }
    }
    variants
}

/// Every variant.
pub fn all_kernels() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for format in WeightFormat::ALL {
        kernels.push(embed::kernel(format));
        for variant in matmul_variants() {
            for epilogue in [
                Epilogue::Qkv(KvType::F16),
                Epilogue::Qkv(KvType::F32),
                Epilogue::Qkv(KvType::Q8),
                Epilogue::Residual,
                Epilogue::Gated(Gate::Silu),
                Epilogue::Gated(Gate::GeluTanh),
                Epilogue::Logits,
            ] {
                kernels.push(matmul::kernel(epilogue, format, variant));
            }
        }
    }
    for only_sampled in [false, true] {
        for workgroup in [4, 64] {
            kernels.push(norm::kernel(&NormShape {
                hidden: 90,
                stride: 96,
                eps: 1e-5,
                only_sampled,
                workgroup,
            }));
        }
    }
    for (num_heads, num_kv_heads, head_dim) in [
        (9, 3, 64),
        (14, 2, 64),
        (32, 32, 80),
        (32, 32, 96),
        (64, 8, 128),
        (8, 1, 256),
        (71, 1, 64),
        (5, 1, 4),
    ] {
        for kv_type in [KvType::F16, KvType::F32, KvType::Q8] {
            let page = PageShape { kv_type, num_kv_heads, head_dim };
            kernels.push(shift::kernel(&page, head_dim / 4 * 2));
            if kv_type == KvType::Q8 {
                kernels.push(quantize::kernel(&page));
            }
            let q_stride: u32 = num_heads * head_dim;
            let out_stride = q_stride.next_multiple_of(32);
            for software in [true, false] {
                for subgroups in [None, Some(SubgroupSizes { min: 4, max: 4 })] {
                    let tuning = select::attention_tuning(&capabilities(software, subgroups));
                    let shape = AttentionShape {
                        num_heads,
                        num_kv_heads,
                        head_dim,
                        q_stride,
                        out_stride,
                        kv_type,
                        tuning,
                    };
                    kernels.extend([attention::prefill_kernel(&shape), attention::decode_kernel(&shape)]);
                }
            }
        }
    }
    for workgroup in [16, 128] {
        let shape = SampleShape { vocab: 49_151, logits_stride: 49_152, workgroup };
        kernels.extend([sample::prepare_kernel(&shape), sample::pick_kernel(&shape)]);
    }
    kernels
}

/// WebGPU's defaults.
fn capabilities(software: bool, subgroups: Option<SubgroupSizes>) -> Capabilities {
    Capabilities {
        software,
        subgroups,
        shader_f16: false,
        timestamps: false,
        max_binding_bytes: 128 << 20,
        max_buffer_bytes: 256 << 20,
        max_workgroup_bytes: MAX_WORKGROUP_BYTES,
        max_invocations: MAX_INVOCATIONS,
        max_workgroups_per_dimension: 65535,
    }
}
