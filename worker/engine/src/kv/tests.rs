use super::*;
use crate::ids::OwnerId;

fn tokens(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().copied().map(TokenId).collect()
}

fn admit(cache: &mut KvCache, ids: &[u32]) -> (BlockTable, u32) {
    let mut table = BlockTable::new(OwnerId(0));
    let hits = cache.allocate(&mut table, &tokens(ids)).unwrap();
    cache.register(&mut table, &tokens(ids));
    (table, hits)
}

fn counts(cache: &KvCache) -> (u32, u32, u32) {
    let PageCounts { free, cached, held, .. } = cache.counts();
    (free, cached, held)
}

#[test]
fn a_released_prefix_is_found_again() {
    let mut cache = KvCache::new(4, 2);
    let (mut first, hits) = admit(&mut cache, &[1, 2, 3, 4, 5]);
    assert_eq!((hits, counts(&cache)), (0, (1, 0, 3)));
    cache.release_table(&mut first);
    assert_eq!(counts(&cache), (2, 2, 0));
    let (_, hits) = admit(&mut cache, &[1, 2, 3, 9]);
    assert_eq!((hits, counts(&cache)), (2, (1, 1, 2)));
}

#[test]
fn the_last_token_is_never_a_hit() {
    let mut cache = KvCache::new(8, 2);
    let (_first, _) = admit(&mut cache, &[1, 2, 3, 4]);
    assert_eq!(admit(&mut cache, &[1, 2, 3, 4]).1, 2);
    assert_eq!(admit(&mut cache, &[1, 2, 3, 4, 5]).1, 4);
}

#[test]
fn the_page_of_the_last_token_is_needed_even_where_its_content_is_held() {
    let mut cache = KvCache::new(3, 2);
    let (_held, _) = admit(&mut cache, &[1, 2, 3, 4]);
    assert_eq!(cache.num_needed(&tokens(&[1, 2, 3, 4])), 1);
    assert_eq!(cache.num_needed(&tokens(&[1, 2, 3, 4, 5])), 1);
}

#[test]
fn equal_blocks_computed_twice_are_stored_once_afterwards() {
    let mut cache = KvCache::new(8, 2);
    let prompt = tokens(&[1, 2, 3, 4, 5]);
    let (mut first, mut second) = (BlockTable::new(OwnerId(0)), BlockTable::new(OwnerId(0)));
    cache.allocate(&mut first, &prompt).unwrap();
    cache.allocate(&mut second, &prompt).unwrap();
    assert_eq!(cache.counts().held, 6);
    cache.register(&mut first, &prompt);
    cache.register(&mut second, &prompt);
    assert_eq!(first.blocks()[..2], second.blocks()[..2]);
    assert_ne!(first.blocks()[2], second.blocks()[2]);
    assert_eq!((cache.counts().held, cache.ref_count(first.blocks()[0])), (4, 2));
}

#[test]
fn hits_that_appear_later_replace_blocks_not_yet_written() {
    let mut cache = KvCache::new(8, 2);
    let prompt = tokens(&[1, 2, 3, 4, 5]);
    let (mut first, mut second) = (BlockTable::new(OwnerId(0)), BlockTable::new(OwnerId(0)));
    cache.allocate(&mut first, &prompt).unwrap();
    cache.allocate(&mut second, &prompt).unwrap();
    cache.register(&mut first, &prompt);
    assert_eq!(cache.extend_hits(&mut second, &prompt, 1), 1, "half a block is written");
    assert_eq!(cache.extend_hits(&mut second, &prompt, 0), 4);
    assert_eq!((second.blocks().len(), cache.counts().held), (3, 4));
}

#[test]
fn free_blocks_go_before_cached_ones_and_tails_before_their_parents() {
    let mut cache = KvCache::new(4, 2);
    let (mut table, _) = admit(&mut cache, &[1, 2, 3, 4, 5, 6]);
    let blocks = table.blocks().to_vec();
    cache.release_table(&mut table);
    let mut grown = BlockTable::new(OwnerId(0));
    while cache.grow(&mut grown) {}
    assert_eq!(grown.blocks(), [BlockId(3), blocks[2], blocks[1], blocks[0]]);
    assert_eq!(counts(&cache), (0, 0, 4));
}

#[test]
fn a_prompt_that_does_not_fit_changes_nothing() {
    let mut cache = KvCache::new(3, 2);
    let (_held, _) = admit(&mut cache, &[1, 2, 3]);
    let mut table = BlockTable::new(OwnerId(0));
    assert_eq!(cache.num_needed(&tokens(&[1, 2, 4, 5, 6])), 2);
    assert_eq!(cache.allocate(&mut table, &tokens(&[1, 2, 4, 5, 6])), None);
    assert_eq!((table.blocks().len(), counts(&cache)), (0, (1, 0, 2)));
}

#[test]
fn cached_hits_are_counted_as_needed_because_they_stop_being_available() {
    let mut cache = KvCache::new(2, 2);
    let (mut table, _) = admit(&mut cache, &[1, 2, 3]);
    cache.release_table(&mut table);
    assert_eq!(cache.num_needed(&tokens(&[1, 2, 3])), 2);
    assert_eq!(cache.num_needed(&tokens(&[1, 2, 3, 4, 5])), 3);
}

#[test]
fn reusing_a_cached_block_forgets_its_content() {
    let mut cache = KvCache::new(2, 2);
    let (mut table, _) = admit(&mut cache, &[1, 2, 3]);
    cache.release_table(&mut table);
    let (mut other, hits) = admit(&mut cache, &[7, 8, 9]);
    assert_eq!(hits, 0);
    cache.release_table(&mut other);
    assert_eq!(admit(&mut cache, &[1, 2, 3]).1, 0);
}

#[test]
fn pages_that_would_be_shared_are_not_freed_by_preempting_their_holder() {
    let mut cache = KvCache::new(8, 2);
    let (table, _) = admit(&mut cache, &[1, 2, 3, 4, 5]);
    assert_eq!(cache.num_freed_for(&tokens(&[1, 2, 9, 9, 9]), &table), 2);
    assert_eq!(cache.num_freed_for(&tokens(&[9, 9, 9]), &table), 3);
    let (_other, _) = admit(&mut cache, &[1, 2, 3, 4, 6]);
    assert_eq!(cache.num_freed_for(&tokens(&[9, 9, 9]), &table), 1);
}
