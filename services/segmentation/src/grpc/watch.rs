use std::pin::Pin;

use futures::Stream;
use proto::segmentation::v1::{
    WatchMembershipRequest, WatchMembershipResponse, watch_service_server::WatchService,
};
use tokio::sync::broadcast::error::RecvError;
use tonic::{Request, Response, Status};

use crate::{app::App, events};

/// `kotinos.segmentation.v1.WatchService`
#[derive(Debug, Clone)]
pub struct Watch {
    app: App,
}

impl Watch {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl WatchService for Watch {
    type WatchMembershipStream = Pin<Box<dyn Stream<Item = Result<WatchMembershipResponse, Status>> + Send>>;

    async fn watch_membership(
        &self,
        request: Request<WatchMembershipRequest>,
    ) -> Result<Response<Self::WatchMembershipStream>, Status> {
        let transitions = self.app.watch();
        let segment = self.app.get_segment(&request.get_ref().segment_id).await.map_err(chassis::status)?;
        let changes = futures::stream::unfold(transitions, move |mut transitions| async move {
            loop {
                match transitions.recv().await {
                    Ok(transition) if transition.segment_id == segment.segment_id => {
                        let change = Some(events::membership(&transition));
                        return Some((Ok(WatchMembershipResponse { change }), transitions));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        // A hole is never silent: the watcher must start again from a list.
                        let behind = Status::failed_precondition(
                            "the watcher fell behind; list the members, then watch again",
                        );
                        return Some((Err(behind), transitions));
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
