//! Bodies between JavaScript's objects, as `JSON.parse` makes them and `JSON.stringify` takes them, and the types of
//! `deputize_api`.
//!
//! Not by serde: with the crate for it, a third of the WebAssembly was serde, for eleven flat objects. Each type is
//! listed here with all its fields, whose names are those on the wire, so that a field that the API gains, loses or
//! renames does not compile. Beside it stands JavaScript's spelling, for what is shown (`npm/index.d.ts`).

use std::borrow::Cow;

use deputize_api::{
    connections::{Connect, Connecting},
    delegations::{CreateDelegation, Delegation},
    error::{ConflictingThing, Dependents, ErrorBody},
    session_grants::{CreateSessionGrant, IgnoredAny, SessionGrant, ToggleSessionGrant},
    token::TokenResponse,
    tools::{ToolCall, Tools},
};
use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// Sets a property of one of our own objects. This cannot fail.
pub(crate) fn set(object: &Object, name: &str, value: impl Into<JsValue>) {
    let _ = Reflect::set(object, &name.into(), &value.into());
}

/// The error is the name of the wrong field.
type Read<T> = Result<T, &'static str>;

/// A type that a body can contain.
pub(crate) trait FromJs: Sized {
    fn from_js(value: JsValue) -> Option<Self>;
}

pub(crate) trait ToJs {
    fn to_js(self) -> JsValue;
}

/// A body that is read.
pub(crate) trait Body: Sized {
    fn read(object: &JsValue) -> Read<Self>;
}

/// A body that is shown as an object of this package.
pub(crate) trait Show: Body {
    fn show(self) -> JsValue;
}

/// A body that is sent.
pub(crate) trait Send {
    fn sent(self) -> Object;
}

fn field<T: FromJs>(object: &JsValue, name: &'static str) -> Read<T> {
    Reflect::get(object, &name.into()).ok().and_then(T::from_js).ok_or(name)
}

macro_rules! read {
    ($($type:ty { $($field:ident),* })*) => {$(
        impl Body for $type {
            fn read(object: &JsValue) -> Read<Self> {
                Ok(Self { $($field: field(object, stringify!($field))?),* })
            }
        }
    )*};
}

macro_rules! shown {
    ($($type:ident { $($field:ident: $name:literal),* })*) => {$(
        read! { $type { $($field),* } }

        impl Show for $type {
            fn show(self) -> JsValue {
                let Self { $($field),* } = self;
                let object = Object::new();
                $(set(&object, $name, $field.to_js());)*
                object.into()
            }
        }
    )*};
}

macro_rules! sent {
    ($($type:ty { $($field:ident),* })*) => {$(
        impl Send for $type {
            fn sent(self) -> Object {
                let Self { $($field),* } = self;
                let object = Object::new();
                // To the service, `null` is the same as a field that is left out.
                $(set(&object, stringify!($field), $field.to_js());)*
                object
            }
        }
    )*};
}

read! {
    ErrorBody {
        error, error_description, detail, reason, denied_for, policies, explanation, scope, conflict, dependents,
        safe_to_retry
    }
    TokenResponse { access_token, issued_token_type, token_type, expires_in, scope, refresh_token }
    Tools<JsValue> { tools }
}

shown! {
    Delegation {
        id: "id",
        agent_account_id: "agentAccountId",
        delegator_user_id: "delegatorUserId",
        delegator_email: "delegatorEmail",
        is_active: "isActive",
        server_ids: "serverIds",
        expires_at: "expiresAt",
        created_at: "createdAt",
        revoked_at: "revokedAt"
    }
    SessionGrant {
        id: "id",
        agent_account_id: "agentAccountId",
        server_id: "serverId",
        grantor_user_id: "grantorUserId",
        grantor_email: "grantorEmail",
        shared: "shared",
        is_active: "isActive",
        displaced_by_user_id: "displacedByUserId",
        displaced_by_email: "displacedByEmail",
        displaced_at: "displacedAt",
        created_at: "createdAt",
        updated_at: "updatedAt"
    }
    Connecting { authorization_url: "authorizationUrl", expires_in: "expiresIn" }
}

sent! {
    ToolCall<JsValue> { tool_name, arguments }
    CreateDelegation { server_ids, expires_at }
    CreateSessionGrant { server_id, shared }
    Connect { scope }
}

/// Without the field that the service would ignore.
impl Send for ToggleSessionGrant {
    fn sent(self) -> Object {
        let Self { server_id, shared: IgnoredAny } = self;
        let object = Object::new();
        set(&object, "server_id", server_id.to_js());
        object
    }
}

/// Values of MCP, which pass unchanged.
impl FromJs for JsValue {
    fn from_js(value: JsValue) -> Option<Self> {
        Some(value)
    }
}

impl ToJs for JsValue {
    fn to_js(self) -> JsValue {
        self
    }
}

impl FromJs for String {
    fn from_js(value: JsValue) -> Option<Self> {
        value.as_string()
    }
}

impl ToJs for String {
    fn to_js(self) -> JsValue {
        self.into()
    }
}

impl FromJs for Cow<'static, str> {
    fn from_js(value: JsValue) -> Option<Self> {
        value.as_string().map(Self::Owned)
    }
}

impl FromJs for bool {
    fn from_js(value: JsValue) -> Option<Self> {
        value.as_bool()
    }
}

impl ToJs for bool {
    fn to_js(self) -> JsValue {
        self.into()
    }
}

/// A number of seconds.
impl FromJs for u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    fn from_js(value: JsValue) -> Option<Self> {
        value.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as Self)
    }
}

impl ToJs for u64 {
    fn to_js(self) -> JsValue {
        number(self).into()
    }
}

/// No duration of ours is beyond JavaScript's integers.
#[expect(clippy::cast_precision_loss, reason = "durations in seconds")]
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

impl FromJs for ConflictingThing {
    fn from_js(value: JsValue) -> Option<Self> {
        Some(Self { kind: field(&value, "kind").ok()?, id: field(&value, "id").ok()? })
    }
}

impl FromJs for Dependents {
    fn from_js(value: JsValue) -> Option<Self> {
        let (kind, count) = (field(&value, "kind").ok()?, field(&value, "count").ok()?);
        Some(Self { kind, count, more: field(&value, "more").ok()?, first: field(&value, "first").ok()? })
    }
}

impl<T: FromJs> FromJs for Option<T> {
    fn from_js(value: JsValue) -> Option<Self> {
        if value.is_undefined() || value.is_null() { Some(None) } else { T::from_js(value).map(Some) }
    }
}

impl<T: ToJs> ToJs for Option<T> {
    fn to_js(self) -> JsValue {
        self.map_or(JsValue::NULL, ToJs::to_js)
    }
}

impl<T: FromJs> FromJs for Vec<T> {
    fn from_js(value: JsValue) -> Option<Self> {
        value.dyn_into::<Array>().ok()?.iter().map(T::from_js).collect()
    }
}

impl<T: ToJs> ToJs for Vec<T> {
    fn to_js(self) -> JsValue {
        self.into_iter().map(ToJs::to_js).collect::<Array>().into()
    }
}

/// A page of a list.
impl<T: Body> Body for Vec<T> {
    fn read(array: &JsValue) -> Read<Self> {
        array.dyn_ref::<Array>().ok_or("array")?.iter().map(|item| T::read(&item)).collect()
    }
}
