//! Which variant of a kernel runs: pure functions of what the device can do and of the step's size.

use crate::device::Capabilities;
use crate::ops::matmul::{Core, MatmulVariant};

/// Columns that a variant of the matmul kernels computes together.
const COLUMNS: [u32; 4] = [1, 2, 4, 8];

/// A step costs about as much as one with the next multiple of this many rows.
pub const ROW_GRANULARITY: u32 = COLUMNS[3];

/// Invocations of the software core's workgroup: small enough that two CPU threads share the rows of a small model evenly.
const SOFTWARE_WORKGROUP: u32 = 16;
/// Invocations of the GPU core's workgroup.
const HARDWARE_WORKGROUP: u32 = 128;
/// Rows of a group of lanes on a GPU.
const HARDWARE_ROWS: u32 = 4;
/// Lanes for each row on a GPU, where subgroups are not smaller.
const HARDWARE_LANES: u32 = 32;

/// The matmul variants of a model on this device, by rising number of columns.
pub fn matmul_variants(capabilities: &Capabilities) -> Vec<MatmulVariant> {
    COLUMNS.map(|columns| MatmulVariant { columns, core: matmul_core(capabilities, columns) }).to_vec()
}

fn matmul_core(capabilities: &Capabilities, columns: u32) -> Core {
    if capabilities.software {
        return Core::Rows {
            workgroup: SOFTWARE_WORKGROUP,
            unroll: columns <= 2,
            quad: capabilities.subgroups.is_some(),
        };
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

/// Invocations of the decode attention that suit the device.
pub fn decode_attention_workgroup(capabilities: &Capabilities) -> u32 {
    if capabilities.software { 32 } else { 128 }
}

/// Whether attention shares loads in quads: software adapters are bound by loads, GPUs serve them from their caches.
pub fn attention_shares_quads(capabilities: &Capabilities) -> bool {
    capabilities.software && capabilities.subgroups.is_some()
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
    fn software_adapters_get_rows_and_gpus_lanes() {
        for columns in COLUMNS {
            assert!(matches!(
                matmul_core(&capabilities(true, Some((4, 4))), columns),
                Core::Rows { quad: true, .. }
            ));
            assert!(matches!(
                matmul_core(&capabilities(true, None), columns),
                Core::Rows { quad: false, .. }
            ));
        }
        let lanes = |subgroups| match matmul_core(&capabilities(false, subgroups), 1) {
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
