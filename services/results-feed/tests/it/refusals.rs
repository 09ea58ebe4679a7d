use domain::Service;

use crate::world::World;

#[tokio::test]
async fn every_rpc_refuses_strangers() {
    let world = World::start().await;
    testkit::refuses_strangers(&world.app, &[Service::ResultsFeed]).await;
    world.app.stop().await;
}
