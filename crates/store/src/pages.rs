//! The statements that read a page of a feed. Each is put together, when this is compiled, of the rows that it looks at and of what
//! it takes from them; Postgres plans it as one.

/// A resource's rows that pass.
pub(crate) const SELECTED_OF_RESOURCE: &str = concat!(
    "with looked_at as (",
    include_str!("../sql/parts/rows_of_resource.sql"),
    ")",
    include_str!("../sql/parts/selected.sql")
);
/// A subject's rows that pass.
pub(crate) const SELECTED_OF_SUBJECT: &str = concat!(
    "with looked_at as (",
    include_str!("../sql/parts/rows_of_subject.sql"),
    ")",
    include_str!("../sql/parts/selected.sql")
);
/// The rows of many subjects that pass.
pub(crate) const SELECTED_OF_SUBJECTS: &str = concat!(
    "with looked_at as (",
    include_str!("../sql/parts/rows_of_subjects.sql"),
    ")",
    include_str!("../sql/parts/selected.sql")
);
/// All rows of a resource.
pub(crate) const ALL_OF_RESOURCE: &str = concat!(
    "with looked_at as (",
    include_str!("../sql/parts/rows_of_resource.sql"),
    ")",
    include_str!("../sql/parts/all.sql")
);
/// All rows of a subject.
pub(crate) const ALL_OF_SUBJECT: &str = concat!(
    "with looked_at as (",
    include_str!("../sql/parts/rows_of_subject.sql"),
    ")",
    include_str!("../sql/parts/all.sql")
);

/// Each of them by its name, for the tests that prepare and explain them.
pub const PAGES: [(&str, &str); 5] = [
    ("selected_of_resource", SELECTED_OF_RESOURCE),
    ("selected_of_subject", SELECTED_OF_SUBJECT),
    ("selected_of_subjects", SELECTED_OF_SUBJECTS),
    ("all_of_resource", ALL_OF_RESOURCE),
    ("all_of_subject", ALL_OF_SUBJECT),
];
