//! What is in the store of pages, kept in memory: which pages there are, how much room they take, which ones go first.
//!
//! The one who owns it writes to the database what it says. A page that is not here is not looked for.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::chain::ChainDigest;

/// A page by what it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageKey {
    /// The model's URL.
    pub model: String,
    /// What the bytes are of besides: the content of the model's file and the format of the cache.
    pub layout: String,
    /// Its tokens and all before them.
    pub digest: ChainDigest,
}

/// What is known of a stored page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its size.
    pub len_bytes: u64,
    /// Its number in its conversation.
    pub number: u32,
    /// Milliseconds since 1970.
    pub last_used_ms: u64,
}

/// The pages that are stored.
#[derive(Debug, Default)]
pub struct Shelf {
    entries: BTreeMap<PageKey, Entry>,
    total_bytes: u64,
}

impl Shelf {
    /// Bytes of all pages.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// True when the page is stored.
    pub fn has(&self, key: &PageKey) -> bool {
        self.entries.contains_key(key)
    }

    /// True when there is any page of this model in this layout.
    pub fn has_any(&self, model: &str, layout: &str) -> bool {
        self.keys_of(model).any(|key| key.layout == layout)
    }

    /// How many of these pages are there before the first that is not.
    pub fn count_run(&self, keys: &[PageKey]) -> usize {
        keys.iter().take_while(|key| self.has(key)).count()
    }

    /// A page has been stored.
    pub fn insert(&mut self, key: PageKey, entry: Entry) {
        self.total_bytes += entry.len_bytes;
        if let Some(old) = self.entries.insert(key, entry) {
            self.total_bytes -= old.len_bytes;
        }
    }

    /// A page is not there any more.
    pub fn remove(&mut self, key: &PageKey) {
        if let Some(old) = self.entries.remove(key) {
            self.total_bytes -= old.len_bytes;
        }
    }

    /// The model's file is gone, and its pages with it.
    pub fn remove_model(&mut self, model: &str) {
        let keys: Vec<PageKey> = self.keys_of(model).cloned().collect();
        for key in keys {
            self.remove(&key);
        }
    }

    /// Pages of the same model that were made from another file or in another format: nobody will ask for them again.
    pub fn outdated(&self, model: &str, layout_prefix: &str) -> Vec<PageKey> {
        self.keys_of(model).filter(|key| !key.layout.starts_with(layout_prefix)).cloned().collect()
    }

    /// Somebody has used a page.
    pub fn touch(&mut self, key: &PageKey, now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.last_used_ms = now_ms;
        }
    }

    /// The pages to remove so that `wanted_bytes` more stay within `max_bytes`: least recently used first, of equals the
    /// later pages of a conversation, which are of no use without the earlier ones. Pages used at `now_ms` stay: `None` where
    /// the room cannot be made without them.
    pub fn make_room(&self, wanted_bytes: u64, max_bytes: u64, now_ms: u64) -> Option<Vec<PageKey>> {
        let mut excess_bytes = (self.total_bytes + wanted_bytes).saturating_sub(max_bytes);
        if excess_bytes == 0 {
            return Some(Vec::new());
        }
        let mut candidates: Vec<(&PageKey, &Entry)> =
            self.entries.iter().filter(|(_, entry)| entry.last_used_ms < now_ms).collect();
        candidates.sort_by_key(|(_, entry)| (entry.last_used_ms, std::cmp::Reverse(entry.number)));
        let mut going = Vec::new();
        for (key, entry) in candidates {
            if excess_bytes == 0 {
                break;
            }
            excess_bytes = excess_bytes.saturating_sub(entry.len_bytes);
            going.push(key.clone());
        }
        (excess_bytes == 0).then_some(going)
    }

    fn keys_of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a PageKey> {
        let first = PageKey { model: model.to_owned(), layout: String::new(), digest: ChainDigest::START };
        // The smallest layout is the empty one; nothing is stored under it, so the digest of the bound does not matter.
        self.entries
            .range((Bound::Included(first), Bound::Unbounded))
            .map(|(key, _)| key)
            .take_while(move |key| key.model == model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str, number: u32) -> PageKey {
        let digest = ChainDigest::START.then(&[number]);
        PageKey { model: model.to_owned(), layout: "f16:a".to_owned(), digest }
    }

    fn entry(number: u32, last_used_ms: u64) -> Entry {
        Entry { len_bytes: 100, number, last_used_ms }
    }

    fn shelf(pages: &[(&str, u32, u64)]) -> Shelf {
        let mut shelf = Shelf::default();
        for (model, number, last_used_ms) in pages {
            shelf.insert(key(model, *number), entry(*number, *last_used_ms));
        }
        shelf
    }

    #[test]
    fn a_run_ends_at_the_first_page_that_is_missing() {
        let shelf = shelf(&[("m", 0, 1), ("m", 1, 1), ("m", 3, 1)]);
        let keys: Vec<PageKey> = (0..4).map(|number| key("m", number)).collect();
        assert_eq!(shelf.count_run(&keys), 2);
        assert_eq!(shelf.count_run(&keys[2..]), 0);
        assert_eq!(shelf.count_run(&[]), 0);
    }

    #[test]
    fn the_least_recently_used_go_first_and_of_a_conversation_its_end() {
        let shelf = shelf(&[("m", 0, 5), ("m", 1, 5), ("m", 2, 5), ("n", 0, 3)]);
        assert_eq!(shelf.make_room(100, 500, 9), Some(vec![]));
        assert_eq!(shelf.make_room(100, 400, 9), Some(vec![key("n", 0)]));
        assert_eq!(shelf.make_room(150, 300, 9), Some(vec![key("n", 0), key("m", 2), key("m", 1)]));
    }

    #[test]
    fn what_is_in_use_now_is_not_given_up_for_more_of_itself() {
        let shelf = shelf(&[("m", 0, 9), ("m", 1, 9), ("n", 0, 3)]);
        assert_eq!(shelf.make_room(100, 300, 9), Some(vec![key("n", 0)]));
        assert_eq!(shelf.make_room(200, 300, 9), None);
    }

    #[test]
    fn bytes_are_counted_once() {
        let mut shelf = shelf(&[("m", 0, 1), ("m", 1, 1)]);
        shelf.insert(key("m", 0), Entry { len_bytes: 40, number: 0, last_used_ms: 2 });
        assert_eq!(shelf.total_bytes(), 140);
        shelf.remove(&key("m", 0));
        shelf.remove(&key("m", 0));
        assert_eq!(shelf.total_bytes(), 100);
    }

    #[test]
    fn a_models_pages_go_with_it_and_nobody_elses() {
        let mut shelf = shelf(&[("m", 0, 1), ("m", 1, 1), ("ma", 0, 1), ("a", 0, 1)]);
        shelf.remove_model("m");
        assert_eq!(shelf.total_bytes(), 200);
        assert!(shelf.has(&key("ma", 0)) && shelf.has(&key("a", 0)));
    }

    #[test]
    fn pages_of_another_file_are_outdated() {
        let mut shelf = shelf(&[("m", 0, 1), ("n", 0, 1)]);
        let old = PageKey { layout: "q8:b".to_owned(), ..key("m", 1) };
        shelf.insert(old.clone(), entry(1, 1));
        assert!(shelf.has_any("m", "q8:b") && shelf.has_any("n", "f16:a"));
        assert!(!shelf.has_any("n", "q8:b") && !shelf.has_any("o", "f16:a"));
        assert_eq!(shelf.outdated("m", "f16:"), [old]);
    }

    #[test]
    fn a_use_is_remembered() {
        let mut shelf = shelf(&[("m", 0, 1), ("m", 1, 2)]);
        shelf.touch(&key("m", 0), 7);
        assert_eq!(shelf.make_room(100, 200, 9), Some(vec![key("m", 1)]));
    }
}
