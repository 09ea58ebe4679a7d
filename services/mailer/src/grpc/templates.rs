use proto::mailer::v1::{
    self as wire, CreateSenderRequest, CreateSenderResponse, CreateTemplateRequest, CreateTemplateResponse,
    GetSenderRequest, GetSenderResponse, PublishTemplateVersionRequest, PublishTemplateVersionResponse,
    SaveTemplateVersionRequest, SaveTemplateVersionResponse, sender_service_server::SenderService,
    template_service_server::TemplateService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{app::App, events, sender::Sender};

/// `kotinos.mailer.v1.SenderService`
#[derive(Debug, Clone)]
pub struct Senders {
    app: App,
}

/// `kotinos.mailer.v1.TemplateService`
#[derive(Debug, Clone)]
pub struct Templates {
    app: App,
}

impl Senders {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

impl Templates {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl SenderService for Senders {
    async fn create_sender(
        &self,
        request: Request<CreateSenderRequest>,
    ) -> Result<Response<CreateSenderResponse>, Status> {
        let sender = parse::sender(request.into_inner().sender).map_err(chassis::status)?;
        self.app.create_sender(&sender).await.map_err(chassis::status)?;
        Ok(Response::new(CreateSenderResponse { sender: Some(to_proto(&sender)) }))
    }

    async fn get_sender(
        &self,
        request: Request<GetSenderRequest>,
    ) -> Result<Response<GetSenderResponse>, Status> {
        let key = parse::key("key", &request.get_ref().key).map_err(chassis::status)?;
        let sender = self.app.get_sender(&key).await.map_err(chassis::status)?;
        Ok(Response::new(GetSenderResponse { sender: Some(to_proto(&sender)) }))
    }
}

#[tonic::async_trait]
impl TemplateService for Templates {
    async fn create_template(
        &self,
        request: Request<CreateTemplateRequest>,
    ) -> Result<Response<CreateTemplateResponse>, Status> {
        let (key, name) = parse::template(request.get_ref()).map_err(chassis::status)?;
        let template_id = self.app.create_template(&key, &name).await.map_err(chassis::status)?;
        Ok(Response::new(CreateTemplateResponse { template_id: template_id.to_string() }))
    }

    async fn save_template_version(
        &self,
        request: Request<SaveTemplateVersionRequest>,
    ) -> Result<Response<SaveTemplateVersionResponse>, Status> {
        let (template_id, source) = parse::source(request.get_ref()).map_err(chassis::status)?;
        let saved = self.app.save_template_version(template_id, &source).await;
        let (version, sha256) = saved.map_err(chassis::status)?;
        Ok(Response::new(SaveTemplateVersionResponse { version, hash: events::hex(&sha256) }))
    }

    async fn publish_template_version(
        &self,
        request: Request<PublishTemplateVersionRequest>,
    ) -> Result<Response<PublishTemplateVersionResponse>, Status> {
        let request = request.into_inner();
        let template_id = parse::uuid("template_id", &request.template_id).map_err(chassis::status)?;
        self.app.publish_template_version(template_id, request.version).await.map_err(chassis::status)?;
        Ok(Response::new(PublishTemplateVersionResponse {}))
    }
}

fn to_proto(sender: &Sender) -> wire::Sender {
    wire::Sender {
        key: sender.key.clone(),
        controller: sender.controller.clone(),
        from_name: sender.from_name.clone(),
        from_address: sender.from.as_str().unwrap_or_default().to_owned(),
        purpose: sender.purpose.purpose().name().to_owned(),
        recipient: sender.purpose.recipient().to_owned(),
        footer: sender.footer.clone().into_iter().collect(),
    }
}
