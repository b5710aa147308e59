//! Which of the loaded models a request means. Knows names only.

use hearth_protocol::config::{AppConfig, ModelRecord};

use super::error::RoutingError;

/// Names of requests in error texts.
pub mod request_name {
    /// A chat completion.
    pub const CHAT: &str = "ChatCompletionRequest";
    /// `getMessage`.
    pub const GET_MESSAGE: &str = "getMessage";
    /// `runtimeStatsText`.
    pub const RUNTIME_STATS: &str = "runtimeStatsText";
    /// `resetChat`.
    pub const RESET_CHAT: &str = "resetChat";
}

/// Picks the model that `wanted` names, or the only one that is loaded. Returns its place in `loaded`.
///
/// # Errors
/// Nothing is loaded, the wanted one is not, or none is wanted and several are loaded.
pub fn select_model(
    loaded: &[&str],
    wanted: Option<&str>,
    request: &'static str,
) -> Result<usize, RoutingError> {
    let names = || loaded.join(",");
    match (loaded, wanted.filter(|name| !name.is_empty())) {
        ([], _) => Err(RoutingError::NothingLoaded { request }),
        (_, Some(wanted)) => loaded
            .iter()
            .position(|name| *name == wanted)
            .ok_or_else(|| RoutingError::NotLoaded { model_id: wanted.to_owned(), request, loaded: names() }),
        ([_], None) => Ok(0),
        (_, None) => Err(RoutingError::Unclear { request, loaded: names() }),
    }
}

/// Checks the arguments of a load: each model once, options for all of them or for none.
///
/// # Errors
/// The lists do not fit each other, or a model is named twice.
pub fn check_reload(model_ids: &[String], num_options: Option<usize>) -> Result<(), RoutingError> {
    match num_options {
        Some(num_options) if num_options != model_ids.len() => {
            return Err(RoutingError::OptionsCount { num_models: model_ids.len(), num_options });
        }
        _ => {}
    }
    let is_repeated = |(index, id): (usize, &String)| model_ids[..index].contains(id);
    if model_ids.iter().enumerate().any(is_repeated) {
        return Err(RoutingError::NotUnique { model_ids: model_ids.join(",") });
    }
    Ok(())
}

/// The record of a model.
///
/// # Errors
/// There is none.
pub fn find_record<'a>(config: &'a AppConfig, model_id: &str) -> Result<&'a ModelRecord, RoutingError> {
    config.find_model(model_id).ok_or_else(|| RoutingError::ModelNotFound { model_id: model_id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: RoutingError) -> String {
        format!("{}: {error}", error.name())
    }

    #[test]
    fn the_only_model_needs_no_name() {
        assert_eq!(select_model(&["a"], None, request_name::CHAT), Ok(0));
        assert_eq!(select_model(&["a"], Some(""), request_name::CHAT), Ok(0));
        assert_eq!(select_model(&["a", "b"], Some("b"), request_name::CHAT), Ok(1));
    }

    #[test]
    fn errors_are_web_llms() {
        for (loaded, wanted, expected) in [
            (
                &[][..],
                None,
                "ModelNotLoadedError: Model not loaded before trying to complete getMessage. Please ensure you have \
                 called MLCEngine.reload(model) to load the model before initiating APIs, or initialize your engine \
                 using CreateMLCEngine() with a valid model configuration.",
            ),
            (
                &["a", "b"][..],
                Some("c"),
                "SpecifiedModelNotFoundError: Specified model c for getMessage is not found in loaded models. Please \
                 check if the correct model is loaded/specified. Currently loaded models are:\na,b",
            ),
            (
                &["a", "b"][..],
                None,
                "UnclearModelToUseError: Multiple models are loaded in engine. Please specify the model in \
                 getMessage.\nCurrently loaded models are:\na,b",
            ),
        ] {
            assert_eq!(text(select_model(loaded, wanted, request_name::GET_MESSAGE).unwrap_err()), expected);
        }
    }

    #[test]
    fn a_load_names_each_model_once_and_has_options_for_all() {
        let ids = ["a".to_owned(), "b".to_owned()];
        assert_eq!(check_reload(&ids, None), Ok(()));
        assert_eq!(check_reload(&ids, Some(2)), Ok(()));
        assert_eq!(
            text(check_reload(&ids, Some(1)).unwrap_err()),
            "ReloadArgumentSizeUnmatchedError: Expect chatOpts, if specified, to match the size of modelId. However, \
             got 2 modelId, but 1 chatOpts."
        );
        let ids = ["a".to_owned(), "a".to_owned()];
        assert_eq!(
            text(check_reload(&ids, None).unwrap_err()),
            "ReloadModelIdNotUniqueError: Need to make models in modelId passed to reload() need to be unique. If you \
             want to, load copies of the same model, consider making copies of the ModelRecord with different model_id. \
             Received modelId: a,a"
        );
    }

    #[test]
    fn a_model_without_a_record_is_not_found() {
        assert_eq!(
            text(find_record(&AppConfig::default(), "x").unwrap_err()),
            "ModelNotFoundError: Cannot find model record in appConfig for x. Please check if the model ID is correct \
             and included in the model_list configuration."
        );
    }
}
