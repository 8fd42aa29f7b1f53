//! Data for the sample plan: `GET /items?n=`, `GET /items/{id}`, `GET /rates`.
//! Must never change between two calls: what a plan makes of it is computed by hand in tests and in the README.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The items there are.
const ITEMS: u64 = 1000;
/// How many are listed when the query does not say.
const LISTED: u64 = 10;
const TAGS: [&str; 5] = ["new", "sale", "fragile", "heavy", "gift"];

pub(super) fn routes() -> Router {
    Router::new()
        .route("/items", get(items))
        .route("/items/{id}", get(item))
        .route("/rates", get(rates))
}

#[derive(Debug, Serialize)]
struct Item {
    id: u64,
    name: String,
    /// In EUR, with two decimals at most: 2.5, 5.0, 7.5 … up to 25.0, and then from 2.5 again.
    price: f64,
    tags: Vec<&'static str>,
}

impl Item {
    /// Numbers small and round enough to add up in one's head.
    fn numbered(id: u64) -> Self {
        let quarters = ((id - 1) % 10 + 1) as f64;
        let tags = TAGS
            .iter()
            .enumerate()
            .filter(|(index, _)| id.is_multiple_of(*index as u64 + 2));
        Self {
            id,
            name: format!("item-{id}"),
            price: quarters * 2.5,
            tags: tags.map(|(_, tag)| *tag).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Listing {
    n: Option<u64>,
}

async fn items(Query(listing): Query<Listing>) -> Json<Vec<Item>> {
    Json(
        (1..=listing.n.unwrap_or(LISTED).min(ITEMS))
            .map(Item::numbered)
            .collect(),
    )
}

async fn item(Path(id): Path<u64>) -> Result<Json<Item>, (StatusCode, Json<Value>)> {
    if (1..=ITEMS).contains(&id) {
        Ok(Json(Item::numbered(id)))
    } else {
        Err((
            StatusCode::NOT_FOUND,
            Json(json!({ "error": format!("there is no item {id}") })),
        ))
    }
}

async fn rates() -> Json<Value> {
    Json(json!({
        "base": "EUR",
        "date": "2026-01-02",
        "rates": { "CHF": 0.95, "EUR": 1.0, "GBP": 0.85, "JPY": 160.0, "USD": 1.1 },
    }))
}
