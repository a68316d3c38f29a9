//! The repositories that an organization has in the demo: always the same ones.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names and descriptions, in the order in which they are listed.
const REPOS: [(&str, &str); 5] = [
    ("billing-api", "Invoices, payments and dunning"),
    ("handbook", "How we work"),
    ("infrastructure", "Everything that runs, as code"),
    ("mobile-app", "The app for both platforms"),
    ("website", "The public website"),
];

/// What `list_repos` asks for.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct ListRepos {
    /// The organization's name, e.g. `acme-corp`
    pub(super) org: String,
}

/// A repository.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Repo {
    pub(super) name: &'static str,
    pub(super) full_name: String,
    pub(super) description: &'static str,
    pub(super) private: bool,
    pub(super) default_branch: &'static str,
    pub(super) open_issues: u32,
}

/// An organization's repositories.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Repos {
    pub(super) org: String,
    pub(super) repos: Vec<Repo>,
}

impl Repos {
    /// The organization's repositories, or why it can have none.
    pub(super) fn of(org: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if org.is_empty() || org.len() > 39 || !org.bytes().all(fits) {
            return Err("org must be 1 to 39 letters, digits and hyphens, e.g. acme-corp".to_owned());
        }
        let repos = REPOS.into_iter().map(|(name, description)| {
            let full_name = format!("{org}/{name}");
            Repo {
                name,
                description,
                private: !matches!(name, "handbook" | "website"),
                default_branch: "main",
                open_issues: full_name.bytes().map(u32::from).sum::<u32>() % 40,
                full_name,
            }
        });
        Ok(Self { org: org.to_owned(), repos: repos.collect() })
    }

    pub(super) fn sentence(&self) -> String {
        let names: Vec<_> = self.repos.iter().map(|repo| repo.name).collect();
        format!("{} has {} repositories: {}", self.org, names.len(), names.join(", "))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.repos.iter().any(|repo| repo.name == name)
    }
}
