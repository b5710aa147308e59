use super::*;

const A: OwnerId = OwnerId(1);
const B: OwnerId = OwnerId(2);
const C: OwnerId = OwnerId(3);

fn tokens(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().copied().map(TokenId).collect()
}

/// Leaves whole pages of `ids` in the cache as an owner's.
fn cache_for(cache: &mut KvCache, owner: OwnerId, ids: &[u32]) {
    let mut table = BlockTable::new(owner);
    cache.allocate(&mut table, &tokens(ids)).unwrap();
    cache.register(&mut table, &tokens(ids));
    cache.release_table(&mut table);
    assert_eq!(cache.audit(), Vec::<String>::new());
}

fn num_found(cache: &KvCache, ids: &[u32]) -> usize {
    cache.find_prefix(&tokens(ids)).len()
}

fn take(cache: &mut KvCache, owner: OwnerId, num_pages: usize) -> BlockTable {
    let mut table = BlockTable::new(owner);
    for _ in 0..num_pages {
        assert!(cache.grow(&mut table));
    }
    table
}

#[test]
fn pages_of_nobody_go_first_then_those_of_owners_over_their_budgets() {
    let mut cache = KvCache::new(8, 2);
    cache_for(&mut cache, A, &[1, 2, 3, 4]);
    cache_for(&mut cache, B, &[11, 12, 13, 14, 15, 16]);
    cache_for(&mut cache, C, &[31, 32, 33, 34, 35, 36]);
    cache.forget_owner(C);
    cache.set_budgets(BTreeMap::from([(A, 9), (B, 1)]));
    let _taken = take(&mut cache, C, 3);
    assert_eq!((num_found(&cache, &[31, 32]), num_found(&cache, &[11, 12, 13, 14, 15, 16])), (0, 3));
    let _taken = take(&mut cache, C, 2);
    assert_eq!(num_found(&cache, &[11, 12, 13, 14, 15, 16]), 1, "tails go first");
    assert_eq!(cache.take_evicted(), [B, B]);
    let _taken = take(&mut cache, C, 1);
    assert_eq!(num_found(&cache, &[1, 2, 3, 4]), 1, "nobody is over a budget: the longest unused goes");
    assert_eq!(cache.audit(), Vec::<String>::new());
}

#[test]
fn the_owner_that_is_most_over_its_budget_gives_most() {
    let mut cache = KvCache::new(8, 1);
    cache_for(&mut cache, A, &[1, 2, 3]);
    cache_for(&mut cache, B, &[11, 12, 13, 14, 15]);
    cache.set_budgets(BTreeMap::from([(A, 1), (B, 1)]));
    assert!(cache.make_empty(4, C));
    assert_eq!((num_found(&cache, &[1, 2, 3]), num_found(&cache, &[11, 12, 13, 14, 15])), (2, 2));
}

#[test]
fn a_page_that_an_owner_within_its_budget_has_too_is_spared() {
    let mut cache = KvCache::new(4, 1);
    cache_for(&mut cache, A, &[1, 2]);
    cache_for(&mut cache, A, &[11, 12]);
    cache.touch(B, &tokens(&[1, 2]));
    cache.touch(A, &tokens(&[11, 12]));
    cache.set_budgets(BTreeMap::from([(A, 0), (B, 4)]));
    assert!(cache.make_empty(2, C));
    assert_eq!((num_found(&cache, &[1, 2]), num_found(&cache, &[11, 12])), (2, 0));
    assert!(cache.make_empty(3, C), "but not for ever");
}

#[test]
fn an_owner_at_its_budget_takes_from_itself() {
    let mut cache = KvCache::new(4, 1);
    cache_for(&mut cache, B, &[11, 12]);
    cache_for(&mut cache, A, &[1, 2]);
    cache.set_budgets(BTreeMap::from([(A, 2), (B, 2)]));
    let _taken = take(&mut cache, A, 1);
    assert_eq!((num_found(&cache, &[1, 2]), num_found(&cache, &[11, 12])), (1, 2));
}

#[test]
fn pages_of_others_are_never_lost_without_a_word() {
    let mut cache = KvCache::new(4, 1);
    cache_for(&mut cache, A, &[1, 2]);
    cache_for(&mut cache, B, &[11, 12]);
    let _taken = take(&mut cache, C, 1);
    assert_eq!(cache.evict_owner(B), 2);
    assert_eq!(cache.take_evicted(), [A], "what B gave up itself is not news, what A lost before is");
}

#[test]
fn evicting_an_owner_frees_what_nobody_else_has() {
    let mut cache = KvCache::new(8, 2);
    cache_for(&mut cache, A, &[1, 2, 3, 4]);
    cache.touch(B, &tokens(&[1, 2]));
    assert_eq!(cache.evict_owner(A), 1);
    assert_eq!((num_found(&cache, &[1, 2, 3, 4]), cache.owners_of(BlockId(0))), (1, &[B][..]));
    assert_eq!(cache.audit(), Vec::<String>::new());
}

#[test]
fn pages_that_follow_one_that_went_go_with_it() {
    let mut cache = KvCache::new(4, 2);
    cache_for(&mut cache, A, &[1, 2, 3, 4, 5, 6]);
    // As after a slide: the beginning is let go of before what follows it.
    let mut sliding = BlockTable::new(A);
    cache.allocate(&mut sliding, &tokens(&[1, 2, 3, 4, 5, 6, 7])).unwrap();
    cache.drop_page(&mut sliding, 0);
    cache.drop_page(&mut sliding, 0);
    assert_eq!((cache.counts().free, cache.counts().cached, cache.counts().held), (0, 2, 2));
    let _taken = take(&mut cache, B, 1);
    assert_eq!((cache.counts().free, cache.counts().cached, num_found(&cache, &[1, 2])), (1, 0, 0));
    cache.release_all(&mut sliding.blocks);
    assert_eq!((cache.counts().free, cache.counts().cached), (3, 0), "what cannot be found is not kept");
    assert_eq!(cache.audit(), Vec::<String>::new());
}

#[test]
fn low_pages_are_taken_first_so_that_the_pool_can_shrink() {
    let mut cache = KvCache::new(4, 2);
    let mut first = take(&mut cache, A, 3);
    cache.resize(8);
    let held = take(&mut cache, B, 1);
    assert_eq!(held.blocks(), [BlockId(3)]);
    cache.release_table(&mut first);
    assert_eq!(take(&mut cache, B, 1).blocks(), [BlockId(0)]);
    assert_eq!(cache.min_blocks(), 4);
    cache.resize(4);
    assert_eq!(cache.audit(), Vec::<String>::new());
}
