//! Which variant of a kernel runs: pure functions of what the device can do and of the step's size.

use crate::device::Capabilities;
use crate::ops::attention::AttentionTuning;
use crate::ops::matmul::{Core, MatmulVariant};

/// Columns that a variant of the matmul kernels computes together.
const COLUMNS: [u32; 4] = [1, 2, 4, 8];

/// A step costs about as much as one with the next multiple of this many rows.
pub const ROW_GRANULARITY: u32 = COLUMNS[3];

/// Invocations of the software core's workgroup, unless a subgroup is smaller: few, so that a few CPU threads share the rows of
/// a small model evenly.
const SOFTWARE_WORKGROUP: u32 = 16;
/// Invocations of the GPU core's workgroup.
const HARDWARE_WORKGROUP: u32 = 128;
/// Rows of a group of lanes on a GPU.
const HARDWARE_ROWS: u32 = 4;
/// Lanes for each row on a GPU, where subgroups are not smaller.
const HARDWARE_LANES: u32 = 32;

/// The matmul variants of a model on this device, by rising number of columns.
pub fn matmul_variants(capabilities: &Capabilities) -> Vec<MatmulVariant> {
    COLUMNS.map(|columns| MatmulVariant { columns, core: matmul_core(capabilities) }).to_vec()
}

fn matmul_core(capabilities: &Capabilities) -> Core {
    if capabilities.software {
        let workgroup = capabilities.subgroups.map_or(SOFTWARE_WORKGROUP, |sizes| {
            // At least a quad, which shares its loads. Wider subgroups have been seen to want several in a workgroup.
            if sizes.max <= 4 { 4 } else { SOFTWARE_WORKGROUP }
        });
        return Core::Rows { workgroup, quad: capabilities.subgroups.is_some() };
    }
    let subgroup_lanes = capabilities.subgroups.map(|sizes| sizes.min).filter(|min| *min >= 8);
    Core::Lanes {
        workgroup: HARDWARE_WORKGROUP,
        rows: HARDWARE_ROWS,
        lanes: subgroup_lanes.map_or(HARDWARE_LANES, |min| min.min(HARDWARE_LANES)),
        subgroup: subgroup_lanes.is_some(),
    }
}

/// Which of the variants computes this many columns: the smallest that does them at once, else the largest.
pub fn variant_for(variants: &[MatmulVariant], columns: u32) -> usize {
    variants.iter().position(|variant| variant.columns >= columns).unwrap_or(variants.len().saturating_sub(1))
}

/// How attention is cut.
///
/// A software adapter spends about 2 us at a barrier for every subgroup of 4 invocations, as long as for 2,000
/// multiplications: few invocations and many keys between barriers. And it is bound by loads, which quads share; a GPU serves
/// repeated loads from its cache.
pub fn attention_tuning(capabilities: &Capabilities) -> AttentionTuning {
    if capabilities.software {
        AttentionTuning {
            decode_workgroup: 16,
            tile_queries: 12,
            chunk_keys: 256,
            share_quads: capabilities.subgroups.is_some(),
        }
    } else {
        AttentionTuning { decode_workgroup: 128, tile_queries: 32, chunk_keys: 64, share_quads: false }
    }
}

/// Invocations of an RMSNorm: on a software adapter one subgroup, so that its barriers cost nothing.
pub fn norm_workgroup(capabilities: &Capabilities) -> u32 {
    if capabilities.software { 4 } else { 64 }
}

/// Invocations of the sampler, which runs on one core of a software adapter whatever their number.
pub fn sample_workgroup(capabilities: &Capabilities) -> u32 {
    if capabilities.software { 16 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::SubgroupSizes;

    fn capabilities(software: bool, subgroups: Option<(u32, u32)>) -> Capabilities {
        Capabilities {
            software,
            subgroups: subgroups.map(|(min, max)| SubgroupSizes { min, max }),
            shader_f16: false,
            timestamps: false,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            max_workgroup_bytes: 16384,
            max_invocations: 256,
            max_workgroups_per_dimension: 65535,
        }
    }

    #[test]
    fn software_adapters_get_workgroups_of_a_quad_where_subgroups_are_quads() {
        let workgroup = |subgroups| match matmul_core(&capabilities(true, subgroups)) {
            Core::Rows { workgroup, .. } => workgroup,
            Core::Lanes { .. } => 0,
        };
        assert_eq!([Some((4, 4)), Some((8, 8)), None].map(workgroup), [4, 16, 16]);
    }

    #[test]
    fn software_adapters_get_rows_and_gpus_lanes() {
        let quads = |subgroups| match matmul_core(&capabilities(true, subgroups)) {
            Core::Rows { quad, .. } => Some(quad),
            Core::Lanes { .. } => None,
        };
        assert_eq!(quads(Some((4, 4))), Some(true));
        assert_eq!(quads(None), Some(false));
        let lanes = |subgroups| match matmul_core(&capabilities(false, subgroups)) {
            Core::Lanes { lanes, subgroup, .. } => (lanes, subgroup),
            Core::Rows { .. } => (0, false),
        };
        assert_eq!(lanes(Some((32, 32))), (32, true));
        assert_eq!(lanes(Some((64, 64))), (32, true));
        assert_eq!(lanes(Some((8, 32))), (8, true));
        assert_eq!(lanes(Some((4, 4))), (32, false));
        assert_eq!(lanes(None), (32, false));
    }

    #[test]
    fn the_smallest_variant_that_holds_the_columns_is_taken() {
        let variants = matmul_variants(&capabilities(true, None));
        let columns = |n| variants[variant_for(&variants, n)].columns;
        assert_eq!([1, 2, 3, 4, 5, 8, 9, 512].map(columns), [1, 2, 4, 4, 8, 8, 8, 8]);
    }
}
