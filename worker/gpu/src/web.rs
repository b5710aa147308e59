//! What wgpu's web backend does not pass on: features that it has no name for, and the adapter's identity.
//!
//! wgpu 30 knows WebGPU's `subgroups` only natively. The adapter is therefore asked for here, its `requestDevice` is
//! given an own property that adds the features, and `navigator.gpu.requestAdapter` returns it to wgpu once. Nothing is
//! changed on prototypes, and WGSL passes through wgpu unparsed, so kernels may then use what was added.

use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;

use crate::device::{AdapterFacts, CapabilityMask};
use crate::error::GpuError;

/// Features to add where the adapter has them, none of which wgpu can request.
const EXTRA_FEATURES: [&str; 1] = ["subgroups"];

/// An adapter for wgpu, and what the browser says about it.
pub(crate) async fn request_adapter(
    instance: &wgpu::Instance,
    mask: &CapabilityMask,
) -> Result<(wgpu::Adapter, AdapterFacts), GpuError> {
    let gpu = find_gpu().ok_or(GpuError::NoWebGpu)?;
    let handle = request_handle(&gpu).await?;

    let features = property(&handle, "features");
    let has = |name: &str| {
        method(&features, "has")
            .and_then(|has| has.call1(&features, &name.into()).ok())
            .is_some_and(|found| found.is_truthy())
    };
    let extra: Vec<&'static str> =
        EXTRA_FEATURES.into_iter().filter(|name| !mask.no_subgroups && has(name)).collect();
    let info = property(&handle, "info");
    let words = ["vendor", "architecture", "device", "description"]
        .iter()
        .filter_map(|key| property(&info, key).as_string())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>();
    let facts = AdapterFacts {
        identity: words.join(" "),
        fallback: property(&info, "isFallbackAdapter").is_truthy()
            || property(&handle, "isFallbackAdapter").is_truthy(),
        subgroups: extra.contains(&"subgroups"),
    };

    add_features(&handle, extra);
    let adapter = adopt(instance, &gpu, &handle).await?;
    Ok((adapter, facts))
}

fn find_gpu() -> Option<JsValue> {
    let gpu = property(&property(&js_sys::global(), "navigator"), "gpu");
    gpu.is_object().then_some(gpu)
}

async fn request_handle(gpu: &JsValue) -> Result<JsValue, GpuError> {
    let request = method(gpu, "requestAdapter").ok_or(GpuError::NoWebGpu)?;
    let options = Object::new();
    set(&options, "powerPreference", &"high-performance".into());
    let reason = |error: JsValue| GpuError::NoAdapter { reason: words(&error) };
    let promise = request.call1(gpu, &options).map_err(reason)?;
    let handle = wasm_bindgen_futures::JsFuture::from(Promise::resolve(&promise)).await.map_err(reason)?;
    if handle.is_object() {
        Ok(handle)
    } else {
        Err(GpuError::NoAdapter { reason: "the browser returned none".to_owned() })
    }
}

/// Gives this one adapter a `requestDevice` that asks for `extra` too.
fn add_features(handle: &JsValue, extra: Vec<&'static str>) {
    let Some(original) = method(handle, "requestDevice") else { return };
    if extra.is_empty() {
        return;
    }
    let this = handle.clone();
    let wrapped = Closure::<dyn Fn(JsValue) -> Result<JsValue, JsValue>>::new(move |descriptor: JsValue| {
        let required = Array::from(&property(&descriptor, "requiredFeatures"));
        for feature in &extra {
            required.push(&(*feature).into());
        }
        set(&descriptor, "requiredFeatures", &required);
        original.call1(&this, &descriptor)
    });
    set(handle, "requestDevice", &wrapped.into_js_value());
}

/// Lets wgpu make its adapter from `handle`: for one call, `requestAdapter` returns it.
async fn adopt(
    instance: &wgpu::Instance,
    gpu: &JsValue,
    handle: &JsValue,
) -> Result<wgpu::Adapter, GpuError> {
    let found = handle.clone();
    let shadow = Closure::<dyn Fn() -> JsValue>::new(move || Promise::resolve(&found).into());
    set(gpu, "requestAdapter", shadow.as_ref());
    let request = instance.request_adapter(&wgpu::RequestAdapterOptions::default());
    let adapter = request.await;
    if let Some(gpu) = gpu.dyn_ref::<Object>() {
        // An own property that we made: deleting it uncovers the prototype's method again.
        let _ = Reflect::delete_property(gpu, &"requestAdapter".into());
    }
    adapter.map_err(|error| GpuError::NoAdapter { reason: error.to_string() })
}

fn property(object: &JsValue, key: &str) -> JsValue {
    if object.is_object() {
        Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
    } else {
        JsValue::UNDEFINED
    }
}

fn method(object: &JsValue, key: &str) -> Option<Function> {
    property(object, key).dyn_into::<Function>().ok()
}

fn set(object: &JsValue, key: &str, value: &JsValue) {
    // Fails only on frozen objects; then the feature is not added, and kernels do without.
    let _ = Reflect::set(object, &key.into(), value);
}

fn words(error: &JsValue) -> String {
    property(error, "message").as_string().unwrap_or_else(|| format!("{error:?}"))
}
