//! Every variant of every kernel parses, declares the bindings that its specification says, and stays within WebGPU's default
//! limits; every file under `shaders/` is part of one.

#[path = "support/catalog.rs"]
mod catalog;

use std::collections::BTreeSet;
use std::path::Path;

use hearth_gpu::KvType;
use hearth_gpu::kernel::{Access, Dialect, Kernel, SUBGROUPS, Value};
use hearth_gpu::ops::matmul::{self, Epilogue, MatmulParams, QkvParams};
use hearth_gpu::repack::WeightFormat;
use hearth_gpu::shaders::ALL_PARTS;
use naga::valid::{ModuleInfo, ValidationFlags, Validator};

use catalog::{MAX_INVOCATIONS, MAX_STORAGE_BUFFERS, MAX_WORKGROUP_BYTES, all_kernels, matmul_variants};

fn parse(kernel: &Kernel) -> (naga::Module, ModuleInfo) {
    let source = kernel.source(Dialect::Naga);
    let module = match naga::front::wgsl::parse_str(&source) {
        Ok(module) => module,
        Err(error) => panic!("{}: {}", kernel.label, error.emit_to_string(&source)),
    };
    // unpack2x16float and pack2x16float are core WGSL.
    let mut capabilities = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if kernel.enables.contains(&SUBGROUPS) {
        capabilities |= naga::valid::Capabilities::SUBGROUP;
    }
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if kernel.enables.contains(&SUBGROUPS) {
        validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
        validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    }
    match validator.validate(&module) {
        Ok(info) => (module, info),
        Err(error) => panic!("{}: {}", kernel.label, error.emit_to_string(&source)),
    }
}

fn check_bindings(kernel: &Kernel, module: &naga::Module, layouter: &naga::proc::Layouter) {
    let label = &kernel.label;
    let mut declared: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| variable.binding.map(|binding| (binding, variable)))
        .collect();
    declared.sort_by_key(|(binding, _)| (binding.group, binding.binding));
    assert_eq!(declared.len(), kernel.bindings.len(), "{label}: number of bindings");
    for (index, ((binding, variable), expected)) in declared.iter().zip(kernel.bindings).enumerate() {
        assert_eq!((binding.group, binding.binding), (0, index as u32), "{label}");
        assert_eq!(variable.name.as_deref(), Some(expected.name), "{label}: binding {index}");
        let access = match variable.space {
            naga::AddressSpace::Uniform => Access::Uniform(layouter[variable.ty].size),
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => {
                Access::ReadWrite
            }
            naga::AddressSpace::Storage { .. } => Access::Read,
            other => panic!("{label}: binding {index} is in {other:?}"),
        };
        assert_eq!(access, expected.access, "{label}: {}", expected.name);
    }
    let storage = kernel.bindings.iter().filter(|b| !matches!(b.access, Access::Uniform(_))).count();
    assert!(storage <= MAX_STORAGE_BUFFERS, "{label}: {storage} storage buffers");
}

fn check_limits(kernel: &Kernel, module: &naga::Module, layouter: &naga::proc::Layouter) {
    let label = &kernel.label;
    let workgroup_bytes: u32 = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
        .map(|(_, variable)| layouter[variable.ty].size.next_multiple_of(16))
        .sum();
    assert!(workgroup_bytes <= MAX_WORKGROUP_BYTES, "{label}: {workgroup_bytes} bytes of workgroup memory");
    assert_eq!(module.entry_points.len(), 1, "{label}: one entry point");
    let entry = &module.entry_points[0];
    assert_eq!(entry.name, "main", "{label}");
    let invocations: u32 = entry.workgroup_size.iter().product();
    assert!(invocations <= MAX_INVOCATIONS, "{label}: {invocations} invocations");
}

#[test]
fn every_variant_matches_its_specification_and_the_default_limits() {
    for kernel in all_kernels() {
        let (module, _) = parse(&kernel);
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("a validated module has a layout");
        check_bindings(&kernel, &module, &layouter);
        check_limits(&kernel, &module, &layouter);
    }
}

#[test]
fn every_constant_of_a_kernel_is_used_by_it() {
    for kernel in all_kernels() {
        let body: String = kernel.parts.iter().map(|part| part.source).collect();
        for (name, value) in &kernel.constants {
            let used = body.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *name);
            assert!(used, "{}: {name}", kernel.label);
            if let Value::F32(value) = value {
                assert!(value.is_finite(), "{}: {name}", kernel.label);
            }
        }
    }
}

/// Members of a struct with their offsets, and its size.
fn members(kernel: &Kernel, name: &str) -> (Vec<(String, u32)>, u32) {
    let (module, _) = parse(kernel);
    let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name));
    match found.map(|(_, ty)| &ty.inner) {
        Some(naga::TypeInner::Struct { members, span }) => {
            (members.iter().map(|m| (m.name.clone().unwrap_or_default(), m.offset)).collect(), *span)
        }
        _ => panic!("{}: no struct {name}", kernel.label),
    }
}

macro_rules! offsets {
    ($type:ty: $($field:ident),*) => {
        (vec![$((stringify!($field).to_owned(), std::mem::offset_of!($type, $field) as u32)),*], size_of::<$type>() as u32)
    };
}

#[test]
fn parameter_structs_have_the_layout_of_their_wgsl() {
    let variant = matmul_variants()[0];
    let residual = matmul::kernel(Epilogue::Residual, WeightFormat::Q4, variant);
    assert_eq!(
        members(&residual, "MatmulParams"),
        offsets!(MatmulParams: first_row, num_rows, blocks_per_row, output_stride)
    );
    let qkv = matmul::kernel(Epilogue::Qkv(KvType::F16), WeightFormat::Q4, variant);
    assert_eq!(
        members(&qkv, "QkvParams"),
        offsets!(QkvParams: first_row, num_rows, blocks_per_row, q_rows, kv_rows, head_dim, rotary_dim, rope_scale)
    );
}

fn files_below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files_below(&entry.path(), &format!("{name}/"), found);
        } else if name.ends_with(".wgsl") {
            found.insert(name);
        }
    }
}

#[test]
fn every_file_is_part_of_a_kernel() {
    let mut files = BTreeSet::new();
    files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shaders"), "", &mut files);
    let mut used = BTreeSet::new();
    for kernel in all_kernels() {
        used.extend(kernel.parts.iter().map(|part| part.path.to_owned()));
    }
    assert_eq!(files, used, "files under shaders/ on the left, parts of kernels on the right");
    let known: BTreeSet<_> = ALL_PARTS.iter().map(|part| part.path.to_owned()).collect();
    assert_eq!(known, used, "parts in shaders.rs on the left, parts of kernels on the right");
}
