//! The files of the page, as they are in the program.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// One file.
pub struct Asset {
    pub path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal $content_type:ident $file:literal)*) => {
        pub const ALL: &[Asset] = &[$(Asset {
            path: $path,
            content_type: $content_type,
            body: include_str!(concat!("static/", $file)),
        }),*];
    };
}

assets! {
    "/console" HTML "index.html"
    "/console/console.css" CSS "console.css"
    "/console/icon.svg" SVG "icon.svg"
    "/console/main.js" SCRIPT "main.js"
    "/console/api.js" SCRIPT "api.js"
    "/console/chart.js" SCRIPT "chart.js"
    "/console/configs.js" SCRIPT "configs.js"
    "/console/dom.js" SCRIPT "dom.js"
    "/console/format.js" SCRIPT "format.js"
    "/console/groups.js" SCRIPT "groups.js"
    "/console/overview.js" SCRIPT "overview.js"
    "/console/quorum.js" SCRIPT "quorum.js"
    "/console/topics.js" SCRIPT "topics.js"
}

impl Asset {
    /// A browser asks each time and gets the file only when it has another: after an update of the broker a page
    /// never mixes old files with new ones.
    pub fn answer(&self, headers: &HeaderMap) -> Response {
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let known =
            headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let caching = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
        if known {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        (caching, [(header::CONTENT_TYPE, self.content_type)], self.body).into_response()
    }
}
