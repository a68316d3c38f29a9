//! What the pages of the functions that serve browsers share: how they look, and who sits at the browser.
//!
//! | file | holds |
//! | --- | --- |
//! | `page` | the document, its headers, and a page of one column: a question to a person, or its answer |
//! | `frame` | the frame of the console's pages, with the navigation |
//! | `parts` | what pages are made of |
//! | `when` | times |
//! | `style.css` | how all of it looks |
//! | `answer` | how the handler of a page answers |
//! | `browser` | who sits at the browser, and whether a page of ours sent a form |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod answer;
pub mod browser;
pub mod frame;
pub mod page;
pub mod parts;
pub mod when;
