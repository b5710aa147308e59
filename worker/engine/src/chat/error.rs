//! What can be wrong with a request or a configuration, one enum per concern, in web-llm's words.
//!
//! Callers match on names and texts, so both are fixed; `tests` holds every one of them against the original's.

use thiserror::Error;

/// What is wrong with the list of messages.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The last message is not from whom the model answers.
    #[error("Last message should be from either `user` or `tool`.")]
    LastMessage,
    /// A system message elsewhere than at the start.
    #[error("System prompt should always be the first message in `messages`.")]
    SystemNotFirst,
    /// Something other than text where only text can be.
    #[error("{role}'s message should have string content.")]
    NotText {
        /// Role of the message.
        role: String,
    },
    /// A role that nobody plays.
    #[error("Unsupported role of message: {role}")]
    UnsupportedRole {
        /// The role.
        role: String,
    },
    /// Images or sound for a model that reads only text.
    #[error(
        "The model loaded is not of type ModelType.VLM (vision-language model). Therefore, user message only supports \
         string content, but received: {content}\nLoaded modelId: {model_id}, modelType: LLM"
    )]
    PartsForTextModel {
        /// The model.
        model_id: String,
        /// The content, as JavaScript prints it.
        content: String,
    },
    /// More than one text in a message.
    #[error("Each message can have at most one text contentPart, but received more than 1.")]
    SeveralTexts,
}

impl MessageError {
    /// web-llm's class name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LastMessage => "MessageOrderError",
            Self::SystemNotFirst => "SystemMessageOrderError",
            Self::NotText { .. } => "ContentTypeError",
            Self::UnsupportedRole { .. } => "UnsupportedRoleError",
            Self::PartsForTextModel { .. } => "UserMessageContentErrorForNonVLM",
            Self::SeveralTexts => "MultipleTextContentError",
        }
    }
}

/// Which fields cannot be there together, or at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldError {
    /// Several replies in one stream.
    #[error("When streaming, `n` cannot be > 1.")]
    StreamingCount,
    /// A seed that is no integer.
    #[error("`seed` should be an integer, but got {got}")]
    SeedType {
        /// The seed, as JavaScript prints it.
        got: String,
    },
    /// Stream options without a stream.
    #[error("Only specify stream_options when stream=True.")]
    StreamOptions,
    /// A schema without `json_object`.
    #[error("JSON schema is only supported with `json_object` response format.")]
    Schema,
    /// A grammar without its type, or the type without a grammar.
    #[error(
        "When ResponseFormat.type is `grammar`, ResponseFormat.grammar needs to be specified.\nWhen \
         ResponseFormat.grammar is specified, ResponseFormat.type needs to be grammar."
    )]
    Grammar,
    /// A structural tag without its type, or the type without a tag.
    #[error(
        "When ResponseFormat.type is `structural_tag`, ResponseFormat.structural_tag needs to be specified.\nWhen \
         ResponseFormat.structural_tag is specified, ResponseFormat.type needs to be structural_tag."
    )]
    StructuralTag,
    /// web-llm can do it, this version cannot.
    #[error("`{field}` is not supported yet by this version of Hearth")]
    NotSupportedYet {
        /// The field, with its value where only the value is the matter.
        field: String,
    },
}

impl FieldError {
    /// web-llm's class name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StreamingCount => "StreamingCountError",
            Self::SeedType { .. } => "SeedTypeError",
            Self::StreamOptions => "InvalidStreamOptionsError",
            Self::Schema => "InvalidResponseFormatError",
            Self::Grammar => "InvalidResponseFormatGrammarError",
            Self::StructuralTag => "InvalidResponseFormatStructuralTagError",
            Self::NotSupportedYet { .. } => hearth_protocol::request::NOT_SUPPORTED_YET,
        }
    }

    /// This version lacks `field`.
    pub(crate) fn not_yet(field: impl Into<String>) -> Self {
        Self::NotSupportedYet { field: field.into() }
    }
}

/// Which value is out of its range. The original writes every lower bound as exclusive.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ValueError {
    /// Not above the minimum.
    #[error("Make sure `{parameter}` > {minimum}.")]
    Minimum {
        /// Which.
        parameter: &'static str,
        /// It must be larger than this.
        minimum: f64,
    },
    /// Outside the range.
    #[error("Make sure {minimum} < {parameter} <= {maximum}.{note}")]
    Range {
        /// Which.
        parameter: &'static str,
        /// Lower end.
        minimum: f64,
        /// Upper end.
        maximum: f64,
        /// Empty, or more about what came, with a space before it.
        note: String,
    },
    /// Below zero.
    #[error("Make sure {parameter} >= 0.")]
    Negative {
        /// Which.
        parameter: &'static str,
    },
    /// Text that should be a number.
    #[error("Make sure {parameter} to be number represented in string.{note}")]
    NumberString {
        /// Which.
        parameter: &'static str,
        /// Empty, or what came, with a space before it.
        note: String,
    },
    /// A field that needs another one.
    #[error("{parameter} requires {required} to be {value}.")]
    Dependency {
        /// The field.
        parameter: &'static str,
        /// The other one.
        required: &'static str,
        /// What the other one must be.
        value: bool,
    },
}

impl ValueError {
    /// web-llm's class name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Minimum { .. } => "MinValueError",
            Self::Range { .. } => "RangeError",
            Self::Negative { .. } => "NonNegativeError",
            Self::NumberString { .. } => "InvalidNumberStringError",
            Self::Dependency { .. } => "DependencyError",
        }
    }
}

/// Which model is meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RoutingError {
    /// No record with the id.
    #[error(
        "Cannot find model record in appConfig for {model_id}. Please check if the model ID is correct and included in \
         the model_list configuration."
    )]
    ModelNotFound {
        /// The id.
        model_id: String,
    },
    /// Nothing is loaded.
    #[error(
        "Model not loaded before trying to complete {request}. Please ensure you have called MLCEngine.reload(model) to \
         load the model before initiating APIs, or initialize your engine using CreateMLCEngine() with a valid model \
         configuration."
    )]
    NothingLoaded {
        /// The request's name.
        request: &'static str,
    },
    /// Something else is loaded.
    #[error(
        "Specified model {model_id} for {request} is not found in loaded models. Please check if the correct model is \
         loaded/specified. Currently loaded models are:\n{loaded}"
    )]
    NotLoaded {
        /// The id.
        model_id: String,
        /// The request's name.
        request: &'static str,
        /// Ids of what is loaded, joined by commas.
        loaded: String,
    },
    /// Several are loaded, none is named.
    #[error(
        "Multiple models are loaded in engine. Please specify the model in {request}.\nCurrently loaded models are:\n\
         {loaded}"
    )]
    Unclear {
        /// The request's name.
        request: &'static str,
        /// Ids of what is loaded, joined by commas.
        loaded: String,
    },
    /// Options for some of the models.
    #[error(
        "Expect chatOpts, if specified, to match the size of modelId. However, got {num_models} modelId, but \
         {num_options} chatOpts."
    )]
    OptionsCount {
        /// How many models.
        num_models: usize,
        /// How many options.
        num_options: usize,
    },
    /// A model named twice.
    #[error(
        "Need to make models in modelId passed to reload() need to be unique. If you want to, load copies of the same \
         model, consider making copies of the ModelRecord with different model_id. Received modelId: {model_ids}"
    )]
    NotUnique {
        /// The ids, joined by commas.
        model_ids: String,
    },
}

impl RoutingError {
    /// web-llm's class name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ModelNotFound { .. } => "ModelNotFoundError",
            Self::NothingLoaded { .. } => "ModelNotLoadedError",
            Self::NotLoaded { .. } => "SpecifiedModelNotFoundError",
            Self::Unclear { .. } => "UnclearModelToUseError",
            Self::OptionsCount { .. } => "ReloadArgumentSizeUnmatchedError",
            Self::NotUnique { .. } => "ReloadModelIdNotUniqueError",
        }
    }
}

/// Which size of window is meant, and what does not fit it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WindowError {
    /// A fixed and a sliding window.
    #[error(
        "Only one of context_window_size and sliding_window_size can be positive. Got: context_window_size: {context}, \
         sliding_window_size: {sliding}\nConsider modifying ModelRecord.overrides to set one of them to -1."
    )]
    Both {
        /// The fixed window.
        context: f64,
        /// The sliding window.
        sliding: f64,
    },
    /// No window.
    #[error(
        "Need to specify either sliding_window_size or max_window_size.\nConsider modifying ModelRecord.overrides to set \
         one of them to positive."
    )]
    Neither,
    /// A sliding window without a sink.
    #[error(
        "Need to specify non-negative attention_sink_size if using sliding window. Consider modifying \
         ModelRecord.overrides. Use `attention_sink_size=0` for default sliding window."
    )]
    Sink,
    /// A prompt that is longer than the window.
    #[error(
        "Prompt tokens exceed context window size: number of prompt tokens: {num_prompt_tokens}; context window size: \
         {window_tokens}\nConsider shortening the prompt, or increase `context_window_size`, or using sliding window via \
         `sliding_window_size`."
    )]
    Exceeded {
        /// Tokens of what must be read.
        num_prompt_tokens: usize,
        /// The window, or what the tab may hold where that is less.
        window_tokens: u32,
    },
}

impl WindowError {
    /// web-llm's class name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Both { .. } => "WindowSizeConfigurationError",
            Self::Neither => "WindowSizeSpecificationError",
            Self::Sink => "AttentionSinkSizeError",
            Self::Exceeded { .. } => "ContextWindowSizeExceededError",
        }
    }
}
