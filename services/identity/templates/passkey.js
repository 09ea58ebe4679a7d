// Passkeys: the one thing on identity's pages that needs a script. What the browser is asked for stands in the form's data
// attributes; its answer goes back as fields of the same form.
"use strict";

(() => {
  if (!window.PublicKeyCredential) return;

  const bytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  const text = (buffer) =>
    btoa(Array.from(new Uint8Array(buffer ?? []), (byte) => String.fromCharCode(byte)).join(""))
      .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  // The browser takes one question at a time.
  let asked = null;
  const signal = () => {
    asked?.abort();
    asked = new AbortController();
    return asked.signal;
  };

  const get = async (form, more) => {
    const { challenge, rp } = form.dataset;
    const publicKey = { challenge: bytes(challenge), rpId: rp, allowCredentials: [], userVerification: "required" };
    const credential = await navigator.credentials.get({ publicKey, signal: signal(), ...more });
    const { clientDataJSON, authenticatorData, signature, userHandle } = credential.response;
    return {
      credential_id: text(credential.rawId),
      client_data: text(clientDataJSON),
      authenticator_data: text(authenticatorData),
      signature: text(signature),
      user_handle: text(userHandle),
    };
  };

  const create = async (form) => {
    const { challenge, rp, rpName, user, userName, algorithms, exclude } = form.dataset;
    const publicKey = {
      challenge: bytes(challenge),
      rp: { id: rp, name: rpName },
      user: { id: bytes(user), name: userName, displayName: userName },
      pubKeyCredParams: algorithms.split(" ").map((alg) => ({ type: "public-key", alg: Number(alg) })),
      excludeCredentials: exclude.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: bytes(id) })),
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      attestation: "none",
    };
    const credential = await navigator.credentials.create({ publicKey, signal: signal() });
    const { clientDataJSON, attestationObject } = credential.response;
    return { client_data: text(clientDataJSON), attestation: text(attestationObject) };
  };

  const send = (form, fields) => {
    for (const [name, value] of Object.entries(fields)) {
      const input = Object.assign(document.createElement("input"), { type: "hidden", name, value });
      form.append(input);
    }
    form.submit();
  };

  const failed = (form, error) => {
    // Another question took this one's place.
    if (error.name !== "AbortError") form.querySelector("[data-failed]").hidden = false;
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    const ask = form.dataset.passkey === "create" ? create : get;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      form.querySelector("[data-failed]").hidden = true;
      try {
        send(form, await ask(form));
      } catch (error) {
        failed(form, error);
      }
    });
  }
  for (const words of document.querySelectorAll("[data-without-passkey]")) words.hidden = true;

  // Passkeys among the suggestions of the address field.
  const field = document.querySelector("input[autocomplete~=webauthn]");
  const form = document.querySelector("form[data-passkey=get]");
  if (!field || !form) return;
  PublicKeyCredential.isConditionalMediationAvailable?.().then(async (available) => {
    if (!available) return;
    try {
      send(form, await get(form, { mediation: "conditional" }));
    } catch {
      // Nobody has asked for anything yet: the form stays as it is.
    }
  });
})();
