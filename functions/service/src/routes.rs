//! Routes, and separately their description.
//!
//! `utoipa-axum` describes a route when it mounts it. For all routes of a function, this takes milliseconds at each
//! start, and no caller reads the description. Here a description is made only on request, with the feature `openapi`:
//! the local server's test requests it. Without the feature, a function has no code for it.

use axum::{
    Router,
    extract::Request,
    response::IntoResponse,
    routing::{MethodRouter, Route},
};
use tower::{Layer, Service};
#[cfg(feature = "openapi")]
use utoipa::openapi::OpenApi;
#[cfg(feature = "openapi")]
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

#[doc(hidden)]
pub mod macros {
    pub use crate::unknown::{KnownQuery, names};
    pub use axum::routing::MethodRouter;
    pub use utoipa::Path;
    #[cfg(feature = "openapi")]
    pub use utoipa_axum::routes as described;
    pub use utoipa_axum::{PathItemExt, paste};
}

/// The handlers of one path, by their names in this module. All are `#[utoipa::path]`.
///
/// Each is followed by the types that it reads from the query: `list(ListFilter, PagingParams)`. If they are left out,
/// it reads nothing. Any other query parameter is refused ([`crate::unknown`]). `token(..)` accepts any query, for
/// endpoints whose standard requires that.
#[macro_export]
macro_rules! handlers {
    ($first:ident $(($($query:tt)*))? $(, $more:ident $(($($queries:tt)*))?)* $(,)?) => {{
        use $crate::routes::macros::{KnownQuery, MethodRouter, Path as _, PathItemExt as _, names, paste};
        let methods = MethodRouter::new();
        let methods = $crate::handlers!(@on methods, $first $(($($query)*))?);
        $(let methods = $crate::handlers!(@on methods, $more $(($($queries)*))?);)*
        let path = paste! { [<__path_ $first>]::path() };
        $(debug_assert_eq!(path, paste! { [<__path_ $more>]::path() }, "handlers of one path");)*
        $crate::described!(path, methods, $first $(, $more)*)
    }};
    (@on $methods:ident, $handler:ident (..)) => {
        $crate::handlers!(@with $methods, $handler, $handler)
    };
    (@on $methods:ident, $handler:ident ($($query:ty),+)) => {
        $crate::handlers!(@with $methods, $handler, KnownQuery::new($handler, || [$(names::<$query>()),+].concat()))
    };
    (@on $methods:ident, $handler:ident) => {
        $crate::handlers!(@with $methods, $handler, KnownQuery::new($handler, Vec::new))
    };
    (@with $methods:ident, $name:ident, $handler:expr) => {
        paste! { [<__path_ $name>]::methods() }
            .iter()
            .fold($methods, |methods, method| methods.on(method.to_method_filter(), $handler))
    };
}

#[doc(hidden)]
#[cfg(feature = "openapi")]
#[macro_export]
macro_rules! described {
    ($path:ident, $methods:ident, $($name:ident),+) => {
        $crate::routes::Handlers::new($path, $methods, || $crate::routes::macros::described!($($name),+))
    };
}

#[doc(hidden)]
#[cfg(not(feature = "openapi"))]
#[macro_export]
macro_rules! described {
    ($path:ident, $methods:ident, $($name:ident),+) => {
        $crate::routes::Handlers::new($path, $methods)
    };
}

/// The result of [`handlers!`].
#[derive(Debug)]
pub struct Handlers<S> {
    path: String,
    methods: MethodRouter<S>,
    #[cfg(feature = "openapi")]
    describe: fn() -> UtoipaMethodRouter<S>,
}

impl<S> Handlers<S> {
    #[doc(hidden)]
    pub fn new(
        path: String,
        methods: MethodRouter<S>,
        #[cfg(feature = "openapi")] describe: fn() -> UtoipaMethodRouter<S>,
    ) -> Self {
        Self {
            path,
            methods,
            #[cfg(feature = "openapi")]
            describe,
        }
    }
}

impl<S> Handlers<S> {
    /// Its handlers alone, for another address of the same endpoint ([`Routes::route`]).
    pub fn into_methods(self) -> MethodRouter<S> {
        self.methods
    }
}

/// A function's routes. Put the edge around them: [`crate::edge::around`].
pub struct Routes<S = ()> {
    router: Router<S>,
    #[cfg(feature = "openapi")]
    descriptions: Vec<Box<dyn Fn(OpenApi) -> OpenApi>>,
}

impl<S> std::fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes").field("router", &self.router).finish_non_exhaustive()
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            #[cfg(feature = "openapi")]
            descriptions: Vec::new(),
        }
    }

    /// Mounts handlers at their path.
    #[must_use]
    pub fn mount(mut self, handlers: Handlers<S>) -> Self {
        self.router = self.router.route(&handlers.path, handlers.methods);
        #[cfg(feature = "openapi")]
        self.descriptions.push(Box::new(move |document| {
            OpenApiRouter::with_openapi(document).routes((handlers.describe)()).into_openapi()
        }));
        self
    }

    /// Mounts a route that is not in the API description.
    #[must_use]
    pub fn route(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, methods);
        self
    }

    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        #[cfg(feature = "openapi")]
        self.descriptions.extend(other.descriptions);
        self
    }

    /// [`Router::route_layer`].
    #[must_use]
    pub fn route_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<std::convert::Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.router = self.router.route_layer(layer);
        self
    }

    pub fn with_state(self, state: S) -> Routes {
        Routes {
            router: self.router.with_state(state),
            #[cfg(feature = "openapi")]
            descriptions: self.descriptions,
        }
    }

    /// Adds these routes to the document.
    #[cfg(feature = "openapi")]
    pub fn describe(&self, document: OpenApi) -> OpenApi {
        self.descriptions.iter().fold(document, |document, describe| describe(document))
    }
}

impl From<Routes> for Router {
    fn from(routes: Routes) -> Self {
        routes.router
    }
}
