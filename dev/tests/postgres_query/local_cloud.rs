//! The local cloud has a database to query, and its Workers' settings lead there.

use std::sync::Arc;
use std::time::Duration;

use aos::config::Settings;
use aos::integrations::neon::Query;
use aos::platform::Clock;
use aos::tenants::OwnSetting;
use aos_dev::cloud::{CloudOptions, LocalCloud};

use crate::world::SystemClock;

#[tokio::test]
async fn the_settings_of_the_local_cloud_lead_to_its_shop() {
    let options = CloudOptions {
        workers: 0,
        ..CloudOptions::for_tests()
    };
    let cloud = LocalCloud::start(options).await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let value_of = |name: &str| cloud.vars().get(name).cloned();
    let settings = Settings::read(value_of, &reqwest::Client::new(), &clock).unwrap();
    let url = settings.installation.values.get(&OwnSetting::QueryDatabaseUrl).unwrap();
    let shop = settings.query_databases.connect(url).unwrap();
    let (_, table) = shop
        .query(&Query {
            sql: "select name from items where price_cents < $1 order by name",
            params: &[Some("200".to_owned())],
            rows: 10,
            statement_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
        })
        .await;
    assert_eq!(
        table.unwrap().rows,
        [[Some("fig".to_owned())], [Some("pear".to_owned())]]
    );
    let own = cloud.vars()["DATABASE_URL"].clone();
    assert!(settings.query_databases.connect(&own.into()).is_err());
    cloud.stop().await;
}
