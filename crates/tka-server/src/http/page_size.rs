//! How many items a page of a list has.

/// How many it has unless the caller says.
const USUAL: u32 = 100;
/// How many it has at the most.
const MOST: u32 = 1000;

/// How many items to answer where the caller asks for `limit`; none where that is not between 1 and 1000.
pub(super) fn page_size(limit: Option<u32>) -> Option<usize> {
    let limit = limit.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) {
        usize::try_from(limit).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::page_size;

    #[test]
    fn page_has_between_one_and_a_thousand_items() {
        let sizes = [None, Some(1), Some(1000)].map(page_size);
        assert_eq!(sizes, [Some(100), Some(1), Some(1000)]);
        assert_eq!([Some(0), Some(1001)].map(page_size), [None, None]);
    }
}
