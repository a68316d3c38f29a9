//! What checking something that others sent has come to.

/// That it is not valid is an answer, with its reason. That there is no answer is an error beside it: the keys that it
/// is checked with could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Checked<T, R> {
    Valid(T),
    Invalid(R),
}

impl<T, R> Checked<T, R> {
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Checked<U, R> {
        match self {
            Self::Valid(value) => Checked::Valid(with(value)),
            Self::Invalid(reason) => Checked::Invalid(reason),
        }
    }

    /// A further check of what is valid.
    pub fn and_then<U>(self, check: impl FnOnce(T) -> Result<U, R>) -> Checked<U, R> {
        match self {
            Self::Valid(value) => check(value).into(),
            Self::Invalid(reason) => Checked::Invalid(reason),
        }
    }

    /// What is valid, or the error that it means here that it is not.
    pub fn require<E>(self, refuse: impl FnOnce(R) -> E) -> Result<T, E> {
        match self {
            Self::Valid(value) => Ok(value),
            Self::Invalid(reason) => Err(refuse(reason)),
        }
    }

    /// What is valid, to look at.
    pub fn as_valid(&self) -> Option<&T> {
        match self {
            Self::Valid(value) => Some(value),
            Self::Invalid(_) => None,
        }
    }

    /// What is valid, whatever the reason if it is not.
    pub fn valid(self) -> Option<T> {
        match self {
            Self::Valid(value) => Some(value),
            Self::Invalid(_) => None,
        }
    }
}

impl<T, R> From<Result<T, R>> for Checked<T, R> {
    fn from(result: Result<T, R>) -> Self {
        match result {
            Ok(value) => Self::Valid(value),
            Err(reason) => Self::Invalid(reason),
        }
    }
}
