//! Tokenizers built from GGUF headers, against ids of the Python package `tokenizers`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use hearth_engine::ids::TokenId;
use hearth_engine::tokenizer::{Tokenizer, TokenizerError, Vocabulary};
use support::{Writer, fixture, fixture_json, ids, open, tiny_llama};

const SMOLLM2: &str = "smollm2-135m/vocabulary.gguf";

fn tokenizer(bytes: Vec<u8>) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_gguf(&open(bytes).unwrap())
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text).unwrap().into_iter().map(|id| id.0).collect()
}

fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| tokenizer.token_bytes(TokenId(*id))).copied().collect()
}

/// The SmolLM2 vocabulary under another family's pre-tokenizer.
fn with_family(name: &str) -> Tokenizer {
    let mut bytes = fixture(SMOLLM2);
    let key = [support::text("tokenizer.ggml.pre"), 8u32.to_le_bytes().to_vec()].concat();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    bytes.splice(at..at + support::text("smollm").len(), support::text(name));
    tokenizer(bytes).unwrap()
}

#[test]
fn smollm2_cuts_varied_texts_as_the_reference_does() {
    let tokenizer = tokenizer(fixture(SMOLLM2)).unwrap();
    assert_eq!(tokenizer.vocab_size(), 49152);
    let golden = fixture_json("smollm2-135m/tokenize.json");
    let texts = golden["texts"].as_array().unwrap();
    assert!(texts.len() > 200);
    for entry in texts {
        let text = entry[0].as_str().unwrap();
        assert_eq!(encode(&tokenizer, text), ids(&entry[1]), "{text:?}");
    }
}

#[test]
fn other_families_cut_as_the_reference_does_with_the_same_vocabulary() {
    let golden = fixture_json("smollm2-135m/tokenize.json");
    for (family, expected) in golden["families"].as_object().unwrap() {
        let tokenizer = with_family(family);
        for (entry, expected) in golden["texts"].as_array().unwrap().iter().zip(expected.as_array().unwrap())
        {
            let text = entry[0].as_str().unwrap();
            assert_eq!(encode(&tokenizer, text), ids(expected), "{family}: {text:?}");
        }
    }
}

#[test]
fn families_differ_in_digits_and_in_words_that_no_merge_makes() {
    let tokens = ["1", "2", "3", "4", "12", "123", "1234", "a", "b", "ab"];
    let cut = |family, text| {
        let writer = tiny_llama()
            .without("tokenizer.ggml.eos_token_id")
            .without("tokenizer.ggml.token_type")
            .without("tokenizer.ggml.tokens")
            .texts("tokenizer.ggml.tokens", &tokens)
            .without("tokenizer.ggml.merges")
            .texts("tokenizer.ggml.merges", &["1 2", "12 3", "123 4"])
            .without("tokenizer.ggml.pre")
            .text("tokenizer.ggml.pre", family);
        encode(&tokenizer(writer.bytes()).unwrap(), text)
    };
    assert_eq!(cut("gpt-2", "1234"), [6]);
    assert_eq!(cut("default", "1234"), [6]);
    assert_eq!(cut("llama-bpe", "1234"), [5, 3]);
    assert_eq!(cut("smollm", "1234"), [0, 1, 2, 3]);
    assert_eq!(cut("qwen2", "1234"), [0, 1, 2, 3]);
    assert_eq!(cut("llama-bpe", "ab"), [9]);
    for family in ["gpt-2", "smollm", "qwen2"] {
        assert_eq!(cut(family, "ab"), [7, 8]);
    }
}

#[test]
fn the_prompts_of_the_golden_model_have_the_golden_ids() {
    let tokenizer = tokenizer(fixture(SMOLLM2)).unwrap();
    for prompt in fixture_json("smollm2-135m/expected-gguf.json")["prompts"].as_array().unwrap() {
        assert_eq!(encode(&tokenizer, prompt["text"].as_str().unwrap()), ids(&prompt["ids"]));
    }
}

#[test]
fn the_tiny_model_cuts_and_decodes_as_its_golden_says() {
    let tokenizer = tokenizer(fixture("tiny/gguf-llama/model.gguf")).unwrap();
    let golden = fixture_json("tiny/gguf-llama/expected.json");
    for entry in golden["tokenize"].as_array().unwrap() {
        let text = entry["text"].as_str().unwrap();
        let expected = ids(&entry["ids"]);
        assert_eq!(encode(&tokenizer, text), expected, "{text:?}");
        assert_eq!(decode(&tokenizer, &expected), entry["decoded"].as_str().unwrap().as_bytes());
    }
}

#[test]
fn bytes_come_back_from_ids_except_those_without_a_token() {
    let tokenizer = tokenizer(fixture(SMOLLM2)).unwrap();
    for text in ["Zoë 🐙 東京 \t\n", "x<|im_end|>y", "a\u{4}b"] {
        let back = decode(&tokenizer, &encode(&tokenizer, text));
        let expected = text.replace("<|im_end|>", "").replace('\u{4}', "");
        assert_eq!(back, expected.as_bytes());
    }
    for control in 0..17 {
        assert_eq!(tokenizer.token_bytes(TokenId(control)), b"");
    }
    assert_eq!(tokenizer.token_bytes(TokenId(49152)), b"");
}

#[test]
fn turns_end_at_the_named_tokens_and_at_control_tokens_known_by_name() {
    let smollm2 = tokenizer(fixture(SMOLLM2)).unwrap();
    assert_eq!(smollm2.end_of_turn(), [TokenId(0), TokenId(2)]); // <|endoftext|>, <|im_end|>
    assert_eq!(smollm2.special_tokens().bos, Some(("<|im_start|>".to_owned(), TokenId(1))));
    assert!(!smollm2.special_tokens().add_bos);

    let writer = tiny_llama().u32("tokenizer.ggml.eot_token_id", 3);
    assert_eq!(tokenizer(writer.bytes()).unwrap().end_of_turn(), [TokenId(3), TokenId(5)]);
    // The same text as a normal token ends nothing.
    let writer = tiny_llama()
        .without("tokenizer.ggml.eos_token_id")
        .without("tokenizer.ggml.token_type")
        .i32s("tokenizer.ggml.token_type", &[3, 1, 1, 1, 1, 1]);
    assert_eq!(tokenizer(writer.bytes()).unwrap().end_of_turn(), []);
}

#[test]
fn user_defined_tokens_are_whole_in_text_and_keep_their_bytes() {
    let writer = tiny_llama()
        .without("tokenizer.ggml.tokens")
        .texts("tokenizer.ggml.tokens", &["<s>", "a", "b", "ab", "é b", "</s>"])
        .without("tokenizer.ggml.token_type")
        .i32s("tokenizer.ggml.token_type", &[3, 1, 1, 1, 4, 5]);
    let tokenizer = tokenizer(writer.bytes()).unwrap();
    assert_eq!(encode(&tokenizer, "aé bab"), [1, 4, 3]);
    assert_eq!(tokenizer.token_bytes(TokenId(4)), "é b".as_bytes());
    assert_eq!(tokenizer.token_bytes(TokenId(5)), b"", "unused rows have no text");
}

fn error_of(writer: Writer) -> TokenizerError {
    tokenizer(writer.bytes()).unwrap_err()
}

#[test]
fn unusable_vocabularies_are_refused_by_name() {
    let model = tiny_llama().without("tokenizer.ggml.model").text("tokenizer.ggml.model", "llama");
    assert!(matches!(error_of(model), TokenizerError::UnsupportedModel { got, .. } if got == "llama"));
    let family = tiny_llama().without("tokenizer.ggml.pre").text("tokenizer.ggml.pre", "tekken");
    assert!(matches!(error_of(family), TokenizerError::UnsupportedFamily { got, .. } if got == "tekken"));
    let merges =
        |merge| tiny_llama().without("tokenizer.ggml.merges").texts("tokenizer.ggml.merges", &[merge]);
    for merge in ["a", "a c", "b a", ""] {
        assert!(matches!(error_of(merges(merge)), TokenizerError::BadMerge { index: 0, .. }), "{merge}");
    }
    let types = tiny_llama().without("tokenizer.ggml.token_type").i32s("tokenizer.ggml.token_type", &[1]);
    assert_eq!(error_of(types), TokenizerError::TypeCount { expected: 6, got: 1 });
    let eos = tiny_llama().without("tokenizer.ggml.eos_token_id").u32("tokenizer.ggml.eos_token_id", 6);
    assert!(matches!(error_of(eos), TokenizerError::TokenOutOfRange { got: 6, num_tokens: 6, .. }));
    let none = tiny_llama().without("tokenizer.ggml.tokens").texts("tokenizer.ggml.tokens", &[]);
    assert_eq!(error_of(none), TokenizerError::Empty);
    let missing = tiny_llama().without("tokenizer.ggml.merges");
    assert!(matches!(error_of(missing), TokenizerError::Gguf(_)));
    let many = tiny_llama().without("tokenizer.ggml.tokens");
    let many = many.array("tokenizer.ggml.tokens", 8, (1 << 20) + 1, &vec![0; 8 * ((1 << 20) + 1)]);
    assert!(matches!(error_of(many), TokenizerError::TooMany { what: "tokens", .. }));
}
