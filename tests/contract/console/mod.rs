//! The pages on which people manage what is theirs. Each asks the core as the API does: these tests hold pages to what
//! the API says, and show that no button is pressed by anybody else.

mod activity;
mod acts;
mod apps;
mod attacks;
mod connections;
mod delegate;
mod keys;
mod round_trips;

use deputize_tests::TestResponse;

/// What a page says below its heading, in one line.
#[track_caller]
fn said(page: &TestResponse) -> String {
    let words = page.words().replace('\n', " ");
    words.replace(" Times are in UTC.", "").replace(" .", ".").replace(" ;", ";").replace(" :", ":")
}

/// The values of a button's name on a page, in its order.
fn buttons(page: &TestResponse, name: &str) -> Vec<String> {
    let begin = format!(r#"<button class="button" name="{name}" value=""#);
    page.text.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}
