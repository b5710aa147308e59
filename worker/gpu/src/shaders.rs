//! The files under `shaders/`, by name.

crate::kernel::parts! {
    /// Single-row attention.
    ATTENTION_DECODE = "attention_decode.wgsl";
    /// Several-row attention.
    ATTENTION_PREFILL = "attention_prefill.wgsl";
    /// Embedding lookup.
    EMBED = "embed.wgsl";
    /// Keys and values into 8 bits.
    QUANTIZE_KV = "quantize_kv.wgsl";
    /// RMSNorm.
    RMS_NORM = "rms_norm.wgsl";
    /// Sampler, second half.
    SAMPLE_PICK = "sample_pick.wgsl";
    /// Sampler, first half.
    SAMPLE_PREPARE = "sample_prepare.wgsl";
    /// Pages copied, their keys rotated.
    SHIFT_PAGE = "shift_page.wgsl";
    /// Pages and their places.
    ATTENTION = "lib/attention.wgsl";
    /// Keys and values in f16.
    CACHE_F16 = "lib/cache_f16.wgsl";
    /// Keys and values in f32.
    CACHE_F32 = "lib/cache_f32.wgsl";
    /// Keys and values in 8 bits.
    CACHE_Q8 = "lib/cache_q8.wgsl";
    /// Attention's vectors loaded by each invocation.
    SHARE_DIRECT = "lib/share_direct.wgsl";
    /// Attention's vectors shared by a quad.
    SHARE_QUAD = "lib/share_quad.wgsl";
    /// The step's samples.
    SAMPLE = "lib/sample.wgsl";
    /// The step's rows.
    STEP = "lib/step.wgsl";
    /// Matmul with rotation, writing q, keys and values.
    MATMUL_QKV = "matmul_qkv.wgsl";
    /// Matmul added to the residual stream.
    MATMUL_RESIDUAL = "matmul_residual.wgsl";
    /// Matmul of gate and up with the activation between.
    MATMUL_GATED = "matmul_gated.wgsl";
    /// Matmul of the sampled rows.
    MATMUL_LOGITS = "matmul_logits.wgsl";
    /// GELU by tanh.
    ACT_GELU_TANH = "lib/act_gelu_tanh.wgsl";
    /// SiLU.
    ACT_SILU = "lib/act_silu.wgsl";
    /// Activations loaded by each invocation.
    ACTIVATIONS_DIRECT = "lib/activations_direct.wgsl";
    /// Activations shared by a quad.
    ACTIVATIONS_QUAD = "lib/activations_quad.wgsl";
    /// One column at a time.
    COLUMNS_1 = "lib/columns_1.wgsl";
    /// Two columns.
    COLUMNS_2 = "lib/columns_2.wgsl";
    /// Four columns.
    COLUMNS_4 = "lib/columns_4.wgsl";
    /// Eight columns.
    COLUMNS_8 = "lib/columns_8.wgsl";
    /// Writes keys and values in f16.
    KV_F16_STORE = "lib/kv_f16_store.wgsl";
    /// Writes keys and values in f32.
    KV_F32_STORE = "lib/kv_f32_store.wgsl";
    /// Groups of keys and values in f16.
    KV_GROUP_F16 = "lib/kv_group_f16.wgsl";
    /// Groups of keys and values in f32.
    KV_GROUP_F32 = "lib/kv_group_f32.wgsl";
    /// Groups of keys and values in 8 bits.
    KV_GROUP_Q8 = "lib/kv_group_q8.wgsl";
    /// Where keys and values are.
    KV_LAYOUT = "lib/kv_layout.wgsl";
    /// Where keys and values wait to be quantised.
    KV_STAGED = "lib/kv_staged.wgsl";
    /// The core for GPUs.
    MATMUL_LANES = "lib/matmul_lanes.wgsl";
    /// The core for software adapters.
    MATMUL_ROWS = "lib/matmul_rows.wgsl";
    /// What formats, cores and epilogues share.
    MATMUL_TYPES = "lib/matmul_types.wgsl";
    /// Invocation without a subgroup.
    NO_SUBGROUP_ID = "lib/no_subgroup_id.wgsl";
    /// Invocation in its subgroup.
    SUBGROUP_ID = "lib/subgroup_id.wgsl";
    /// Sums over lanes by subgroup operations.
    REDUCE_SUBGROUP = "lib/reduce_subgroup.wgsl";
    /// Sums over lanes by workgroup memory.
    REDUCE_WORKGROUP = "lib/reduce_workgroup.wgsl";
    /// Exchanges of columns in a subgroup.
    SUBGROUP_COLUMNS = "lib/subgroup_columns.wgsl";
    /// Exchanges of eight columns in a subgroup.
    SUBGROUP_COLUMNS_8 = "lib/subgroup_columns_8.wgsl";
    /// Rotary embedding.
    ROPE = "lib/rope.wgsl";
    /// The columns of a product are the step's rows.
    STEP_COLUMNS = "lib/step_columns.wgsl";
    /// Weights in bf16.
    WEIGHT_BF16 = "lib/weight_bf16.wgsl";
    /// Weights in f16.
    WEIGHT_F16 = "lib/weight_f16.wgsl";
    /// Weights of 16 bits.
    WEIGHT_HALVES = "lib/weight_halves.wgsl";
    /// Weights in f32.
    WEIGHT_F32 = "lib/weight_f32.wgsl";
    /// 4-bit weights.
    WEIGHT_Q4 = "lib/weight_q4.wgsl";
    /// 5-bit weights.
    WEIGHT_Q5 = "lib/weight_q5.wgsl";
    /// 8-bit weights.
    WEIGHT_Q8 = "lib/weight_q8.wgsl";
}
