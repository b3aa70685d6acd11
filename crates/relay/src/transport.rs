//! One transport of a leg: the ports of a stream, or of a bundle of streams, with ICE and keys as agreed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use media::demux::Media;
use model::{
    Candidate, CommandError, Component as Number, Crypto, DtlsParameters, HashFunction, IceParameters, Learning,
    MediaPath, Profile, Security, Setup, SrtpSuite, Ssrc, StreamId, Surroundings,
};

use crate::component::{Component, DtlsTerms, Name};
use crate::latch::Latch;
use crate::negotiation::{self, Keying, Policy};
use crate::ports::PortPair;
use crate::report::RtcpTraffic;
use crate::resources::{Place, Resources, Work};
use crate::{Address, Dropped, Traffic};

/// SSRCs of a bundle that are remembered to belong to a stream; the oldest makes room.
const MAX_BINDINGS: usize = 16;

/// One transport of a leg. The fields stand as a packet needs them, so that it fetches few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Transport {
    /// RTP, and RTCP too once they are muxed.
    rtp: Component,
    /// RTCP on a port of its own.
    separate: Option<Component>,
    /// Its own ports; none where it is all on the shared one.
    ports: Option<PortPair>,
    /// What we show; none where the policy has no DTLS.
    certificate: Option<Arc<dtls::Certificate>>,
    ice: Option<IceSession>,
    /// What was agreed on last; nothing before the first answer.
    terms: Option<Terms>,
    /// Keys of ours that we offered, one for each suite; a later offer repeats them.
    offered: Vec<Crypto>,
    bindings: Vec<(Ssrc, StreamId)>,
    /// What we call our DTLS association (RFC 8842 §5.1).
    tls_id: [u8; 16],
    /// The RTCP that was sent and received.
    pub(crate) rtcp: RtcpTraffic,
}

/// The ICE session of a transport, which its components share.
#[derive(Clone, Debug)]
struct IceSession {
    local: IceParameters,
    remote: Option<IceParameters>,
    tie_breaker: u64,
    /// We began a restart, which the peer has still to answer.
    restarting: bool,
}

/// What an offer and its answer come to for one transport.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The peer's path.
    pub(crate) remote: MediaPath,
    /// RTP and RTCP share a port.
    pub(crate) rtcp_mux: bool,
    /// What protects media.
    pub(crate) keying: Keying,
    /// How the peer is reached.
    pub(crate) reached: Reached,
    /// The profile that both sides write.
    pub(crate) profile: Profile,
    /// They come from another answer to an offer that was answered before.
    pub(crate) again: bool,
}

/// How the peer is reached, as agreed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reached {
    /// By ICE, with these credentials of the peer.
    ByIce(IceParameters),
    /// At these addresses; at none where the peer wants nothing.
    At {
        /// For RTP.
        rtp: Option<SocketAddr>,
        /// For RTCP.
        rtcp: Option<SocketAddr>,
    },
}

/// What a transport is made of.
pub(crate) struct NewTransport<'a> {
    pub(crate) place: Place,
    pub(crate) addresses: &'a [Address],
    pub(crate) traffic: Traffic,
    pub(crate) separate_rtcp: bool,
    /// RTP uses the shared port. RTCP, where it is separate, needs one of its own: checks do not tell the two apart.
    pub(crate) shared: bool,
    /// Our role, where ICE is used or offered.
    pub(crate) ice: Option<ice::Role>,
    pub(crate) certificate: Option<Arc<dtls::Certificate>>,
}

impl Transport {
    /// Opens ports, and begins ICE if it is asked for.
    ///
    /// # Errors
    ///
    /// No port is free, or an address cannot be a candidate. Nothing stays open.
    pub(crate) fn open(new: NewTransport<'_>, work: &mut Work<'_>) -> Result<Self, CommandError> {
        let own: &[Number] = match (new.shared, new.separate_rtcp) {
            (false, false) => &[Number::Rtp],
            (false, true) => &[Number::Rtp, Number::Rtcp],
            (true, false) => &[],
            (true, true) => &[Number::Rtcp],
        };
        let opened = work.resources.open(new.place, new.addresses, own, new.traffic, work.sockets, work.now)?;
        let component = |number, sockets| Component::new(Place { component: number, ..new.place }, sockets);
        let mut transport = Self {
            rtp: match new.shared {
                true => component(Number::Rtp, work.resources.shared.sockets(new.addresses)).sharing(),
                false => component(Number::Rtp, opened.rtp),
            },
            separate: new.separate_rtcp.then(|| component(Number::Rtcp, opened.rtcp)),
            ports: opened.ports,
            certificate: new.certificate,
            ice: None,
            terms: None,
            offered: Vec::new(),
            bindings: Vec::new(),
            tls_id: [0; 16],
            rtcp: RtcpTraffic::NONE,
        };
        if transport.certificate.is_some() {
            (work.resources.random)(&mut transport.tls_id);
        }
        if let Some(role) = new.ice
            && let Err(error) = transport.begin_ice(role)
        {
            transport.close(work);
            return Err(error);
        }
        transport.rtp.register(work.resources);
        Ok(transport)
    }

    fn begin_ice(&mut self, role: ice::Role) -> Result<(), CommandError> {
        let session = IceSession {
            local: ice::new_credentials(),
            remote: None,
            tie_breaker: ice::new_tie_breaker(),
            restarting: false,
        };
        for component in self.components_mut() {
            let agent = ice::Agent::new(ice::Config {
                component: component.number(),
                role,
                credentials: session.local.clone(),
                tie_breaker: session.tie_breaker,
                addresses: component.local_addresses(),
            });
            component.use_ice(agent.map_err(|_| CommandError::NoUsableAddress)?);
        }
        self.ice = Some(session);
        Ok(())
    }

    /// Closes everything.
    pub(crate) fn close(self, work: &mut Work<'_>) {
        self.rtp.close(work.resources, work.now);
        if let Some(rtcp) = self.separate {
            rtcp.close(work.resources, work.now);
        }
        if let Some(ports) = self.ports {
            work.resources.give_back(ports, work.now);
        }
    }

    /// The component of a number.
    pub(crate) const fn component(&self, number: Number) -> Option<&Component> {
        match number {
            Number::Rtp => Some(&self.rtp),
            Number::Rtcp => self.separate.as_ref(),
        }
    }

    /// The same, to be changed.
    pub(crate) fn component_mut(&mut self, number: Number) -> Option<&mut Component> {
        match number {
            Number::Rtp => Some(&mut self.rtp),
            Number::Rtcp => self.separate.as_mut(),
        }
    }

    /// The component that carries RTP or RTCP.
    pub(crate) fn carrier(&mut self, media: Media) -> &mut Component {
        match (media, &mut self.separate) {
            (Media::Rtcp, Some(rtcp)) => rtcp,
            (Media::Rtcp, None) | (Media::Rtp, _) => &mut self.rtp,
        }
    }

    /// All components.
    pub(crate) fn components_mut(&mut self) -> impl Iterator<Item = &mut Component> {
        [Some(&mut self.rtp), self.separate.as_mut()].into_iter().flatten()
    }

    fn components(&self) -> impl Iterator<Item = &Component> {
        [Some(&self.rtp), self.separate.as_ref()].into_iter().flatten()
    }

    /// Tells RTP from RTCP on a component (RFC 5761 §4): by the port, unless they share it.
    pub(crate) fn media(&self, component: Number, packet: &[u8]) -> Media {
        match (component, &self.separate) {
            (Number::Rtcp, _) => Media::Rtcp,
            (Number::Rtp, Some(_)) => Media::Rtp,
            (Number::Rtp, None) => Media::of(packet),
        }
    }

    /// What was agreed on last.
    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// The suite in use.
    pub(crate) fn suite(&self) -> Option<SrtpSuite> {
        self.rtp.suite()
    }

    // What our descriptions say.

    /// Our path in an offer.
    pub(crate) fn offer(
        &mut self,
        policy: Policy<'_>,
        rtcp_mux: bool,
        profile: Profile,
        resources: &mut Resources,
    ) -> MediaPath {
        let agreed = self.terms.as_ref().map(|terms| terms.keying.security());
        let by_keys = policy.offers(Security::Sdes, agreed);
        let profile = self.terms.as_ref().map_or(profile, |terms| terms.profile);
        if by_keys {
            let suites = match self.sdes_key() {
                Some(key) => negotiation::suites_after(key, policy.suites),
                None => policy.offered_suites(),
            };
            let key = |(tag, suite)| match self.our_key(suite) {
                Some(key) => Crypto { tag, ..key.clone() },
                None => negotiation::new_crypto(tag, suite, &mut resources.random),
            };
            self.offered = suites.into_iter().map(key).collect();
        }
        let by_dtls = policy.offers(Security::Dtls, agreed);
        MediaPath {
            profile,
            rtcp_mux: rtcp_mux || self.separate.is_none(),
            dtls: if by_dtls { self.dtls_parameters(Setup::Actpass, policy) } else { None },
            crypto: if by_keys { self.offered.clone() } else { Vec::new() },
            ..self.addresses()
        }
    }

    /// Our path in an answer, once the terms are in force.
    pub(crate) fn answer(&self, policy: Policy<'_>) -> MediaPath {
        let Some(terms) = &self.terms else { return self.addresses() };
        let (dtls, crypto) = match &terms.keying {
            Keying::Plain => (None, Vec::new()),
            Keying::Sdes { ours, .. } => (None, vec![ours.clone()]),
            Keying::Dtls { role, .. } => (self.dtls_parameters(negotiation::answered_setup(*role), policy), Vec::new()),
        };
        MediaPath {
            profile: terms.profile,
            rtcp_mux: terms.rtcp_mux,
            rtcp_mux_only: terms.rtcp_mux && terms.remote.rtcp_mux_only,
            dtls,
            crypto,
            ..self.addresses()
        }
    }

    fn addresses(&self) -> MediaPath {
        MediaPath {
            rtp: self.rtp.address(),
            rtcp: self.separate.as_ref().and_then(Component::address),
            ice: self.ice.as_ref().map(|session| session.local.clone()),
            candidates: self.local_candidates(),
            end_of_candidates: self.ice.is_some(),
            ..MediaPath::default()
        }
    }

    fn dtls_parameters(&self, setup: Setup, policy: Policy<'_>) -> Option<DtlsParameters> {
        let certificate = self.certificate.as_ref()?;
        let theirs = self.terms.as_ref().and_then(|terms| terms.remote.dtls.as_ref()?.fingerprints.first());
        let hash = policy.fingerprint.or(theirs.map(|fingerprint| fingerprint.hash));
        let fingerprints = vec![certificate.fingerprint(hash.unwrap_or(HashFunction::Sha256))];
        Some(DtlsParameters { fingerprints, setup, tls_id: Some(format!("{:032x}", u128::from_be_bytes(self.tls_id))) })
    }

    /// Our candidates.
    pub(crate) fn local_candidates(&self) -> Vec<Candidate> {
        self.components().filter_map(Component::agent).flat_map(ice::Agent::local_candidates).collect()
    }

    fn sdes_key(&self) -> Option<&Crypto> {
        match &self.terms.as_ref()?.keying {
            Keying::Sdes { ours, .. } => Some(ours),
            Keying::Plain | Keying::Dtls { .. } => None,
        }
    }

    // What the peer's descriptions come to.

    /// What the peer's offer comes to. Nothing changes yet.
    ///
    /// # Errors
    ///
    /// It cannot be accepted.
    pub(crate) fn consider_offer(
        present: Option<&Self>,
        policy: Policy<'_>,
        offer: &MediaPath,
        rtcp_mux: bool,
        resources: &mut Resources,
    ) -> Result<Terms, CommandError> {
        let keying = match policy.choose(offer)? {
            Security::Rtp => Keying::Plain,
            Security::Sdes => {
                let theirs = policy.usable_crypto(&offer.crypto).ok_or(CommandError::NoUsableKey)?;
                let ours = match present.and_then(|transport| transport.our_key(theirs.suite)) {
                    Some(key) => key.clone(),
                    None => negotiation::new_crypto(theirs.tag, theirs.suite, &mut resources.random),
                };
                let ours = Crypto { tag: theirs.tag, unencrypted_srtcp: theirs.unencrypted_srtcp, ..ours };
                Keying::Sdes { ours, theirs: theirs.clone() }
            }
            Security::Dtls => {
                let dtls = offer.dtls.as_ref().ok_or(CommandError::NoUsableKey)?;
                let present = present.and_then(|transport| transport.rtp.dtls_role());
                let role = negotiation::role_from_offer(dtls.setup, present, policy.preferred_role());
                Keying::Dtls { role, fingerprints: dtls.fingerprints.clone() }
            }
        };
        Self::refuse_to_lose_dtls(present, &keying)?;
        let rtcp_mux = present.is_some_and(|transport| transport.separate.is_none())
            || offer.rtcp_mux_only
            || (offer.rtcp_mux && rtcp_mux);
        let reached = Self::reached(present, policy, offer, rtcp_mux, resources)?;
        Ok(Terms { remote: offer.clone(), rtcp_mux, keying, reached, profile: offer.profile, again: false })
    }

    /// What the peer's answer to our offer comes to. Nothing changes yet.
    ///
    /// # Errors
    ///
    /// It is no answer to that.
    pub(crate) fn consider_answer(
        &self,
        policy: Policy<'_>,
        offered: &MediaPath,
        answer: &MediaPath,
        resources: &Resources,
    ) -> Result<Terms, CommandError> {
        let keying = match policy.chosen(offered, answer)? {
            Security::Dtls => {
                let dtls = answer.dtls.as_ref().ok_or(CommandError::SecurityRequired)?;
                let role = negotiation::role_from_answer(dtls)?;
                if dtls.fingerprints.is_empty() {
                    return Err(CommandError::NoUsableKey);
                }
                Keying::Dtls { role, fingerprints: dtls.fingerprints.clone() }
            }
            Security::Sdes => {
                let theirs = policy.usable_crypto(&answer.crypto).ok_or(CommandError::NoUsableKey)?;
                let answered = |ours: &&Crypto| {
                    (ours.tag, ours.suite, ours.unencrypted_srtcp)
                        == (theirs.tag, theirs.suite, theirs.unencrypted_srtcp)
                };
                let ours = offered.crypto.iter().find(answered);
                Keying::Sdes { ours: ours.ok_or(CommandError::NoUsableKey)?.clone(), theirs: theirs.clone() }
            }
            Security::Rtp => Keying::Plain,
        };
        Self::refuse_to_lose_dtls(Some(self), &keying)?;
        let rtcp_mux = self.separate.is_none() || (offered.rtcp_mux && answer.rtcp_mux);
        let reached = Self::reached(Some(self), policy, answer, rtcp_mux, resources)?;
        Ok(Terms { remote: answer.clone(), rtcp_mux, keying, reached, profile: offered.profile, again: false })
    }

    /// A transport that has DTLS keeps it: nobody can talk it into less.
    fn refuse_to_lose_dtls(present: Option<&Self>, keying: &Keying) -> Result<(), CommandError> {
        let had_dtls = present
            .and_then(|transport| transport.terms.as_ref())
            .is_some_and(|terms| terms.keying.security() == Security::Dtls);
        if had_dtls && keying.security() != Security::Dtls { Err(CommandError::SecurityRequired) } else { Ok(()) }
    }

    fn our_key(&self, suite: SrtpSuite) -> Option<&Crypto> {
        self.sdes_key().into_iter().chain(&self.offered).find(|crypto| crypto.suite == suite)
    }

    /// How a path leads to the peer, from the sockets there are or, where there are none yet, from any.
    fn reached(
        present: Option<&Self>,
        policy: Policy<'_>,
        path: &MediaPath,
        rtcp_mux: bool,
        resources: &Resources,
    ) -> Result<Reached, CommandError> {
        if let Some(ice) = policy.ice(path)? {
            ice::check_credentials(ice).map_err(|_| CommandError::IceRequired)?;
            return Ok(Reached::ByIce(ice.clone()));
        }
        let rtp = path.rtp.ok_or(CommandError::NoUsableAddress)?;
        if rtp.ip().is_unspecified() {
            return Ok(Reached::At { rtp: None, rtcp: None }); // RFC 3264 §8.4: the old way to say hold
        }
        if present.is_some_and(|transport| !transport.rtp.has_family_of(rtp)) {
            return Err(CommandError::NoUsableAddress);
        }
        if !resources.may_send_to(rtp) {
            // What a phone behind a NAT calls its address may lead nowhere from here, or to somebody else.
            let is_learnt = policy.learns_any_source();
            return is_learnt.then_some(Reached::At { rtp: None, rtcp: None }).ok_or(CommandError::NoUsableAddress);
        }
        let above = rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port));
        let rtcp = if rtcp_mux { None } else { path.rtcp.or(above) };
        Ok(Reached::At { rtp: Some(rtp), rtcp: rtcp.filter(|rtcp| resources.may_send_to(*rtcp)) })
    }

    /// Brings terms into force.
    pub(crate) fn agree(&mut self, terms: Terms, policy: Policy<'_>, name: Name, work: &mut Work<'_>) {
        if terms.rtcp_mux
            && let Some(rtcp) = self.separate.take()
        {
            self.rtp.take_over(&rtcp);
            rtcp.close(work.resources, work.now);
        }
        let moved = self.terms.as_ref().is_some_and(|before| before.reached != terms.reached);
        let renamed = self.terms.as_ref().is_some_and(|before| negotiation::is_renamed(&before.remote, &terms.remote));
        match &terms.reached {
            Reached::ByIce(remote) => self.continue_ice(remote, name, work),
            Reached::At { rtp, rtcp } => self.leave_ice(policy, &terms, (*rtp, *rtcp), work.now),
        }
        let without_ice = self.ice.is_none();
        for candidate in &terms.remote.candidates {
            self.add_candidate(candidate, None, name, work.resources, work.now);
        }
        if terms.remote.end_of_candidates {
            self.end_of_candidates(name, work.resources, work.now);
        }
        if !matches!(terms.keying, Keying::Sdes { .. }) {
            self.offered.clear(); // if keys are wanted again, their indices would begin anew
        }
        let certificate = self.certificate.clone();
        let mut is_new = false;
        for component in self.components_mut() {
            match &terms.keying {
                Keying::Plain => component.protect_nothing(work.resources),
                Keying::Sdes { ours, theirs } => component.protect_with(ours, theirs, work.resources, work.now),
                Keying::Dtls { role: None, .. } => component.hold_dtls(),
                Keying::Dtls { role: Some(role), fingerprints } => {
                    // A leg agrees on DTLS only where its policy has it, and then there is one.
                    let Some(certificate) = certificate.clone() else { continue };
                    let dtls = DtlsTerms {
                        role: *role,
                        fingerprints: fingerprints.clone(),
                        suites: policy.dtls_suites(),
                        certificate,
                    };
                    // Without ICE and tls-id, another address is another association (RFC 8842 §3.2).
                    let afresh = renamed || (without_ice && moved);
                    is_new |= component.protect_by_dtls(dtls, afresh, name, work.resources);
                    if without_ice && *role == dtls::Role::Server {
                        component.knock(work.resources);
                    }
                }
            }
        }
        if is_new {
            (work.resources.random)(&mut self.tls_id);
        }
        self.terms = Some(terms);
    }

    /// Takes the peer's credentials: the first, those of its restart, or those that answer ours (RFC 8445 §9).
    fn continue_ice(&mut self, remote: &IceParameters, name: Name, work: &mut Work<'_>) {
        let Some(session) = &mut self.ice else { return };
        let fresh = match &session.remote {
            Some(known) if known.ufrag == remote.ufrag || known.pwd == remote.pwd => return,
            Some(_) if !session.restarting => Some(ice::new_credentials()),
            Some(_) | None => None,
        };
        session.remote = Some(remote.clone());
        session.restarting = false;
        if let Some(fresh) = &fresh {
            session.local = fresh.clone();
        }
        for component in self.components_mut() {
            if let Some(agent) = component.agent_mut() {
                if let Some(fresh) = &fresh {
                    agent.restart(fresh.clone(), work.now);
                }
                if agent.set_remote_credentials(remote, work.now).is_err() {
                    work.resources.count_drop(Dropped::CandidateUnusable);
                }
            }
            component.drain_ice(name, work.resources, work.now);
        }
    }

    fn leave_ice(
        &mut self,
        policy: Policy<'_>,
        terms: &Terms,
        (rtp, rtcp): (Option<SocketAddr>, Option<SocketAddr>),
        now: Instant,
    ) {
        self.ice = None;
        let (learning, surroundings) = (policy.learning(), terms.remote.surroundings);
        let is_known =
            |before: &Terms| before.reached == Reached::At { rtp, rtcp } && before.remote.surroundings == surroundings;
        if self.terms.as_ref().is_some_and(is_known) && (terms.again || learning == Learning::Off) {
            return;
        }
        let surroundings = Surroundings { sender: surroundings.sender.or(policy.sender), ..surroundings };
        self.rtp.use_signalled(Latch::new(learning, rtp, surroundings, now), now);
        if let Some(component) = &mut self.separate {
            component.use_signalled(Latch::new(learning, rtcp, surroundings, now), now);
        }
    }

    // ICE.

    /// Adds a candidate of the peer.
    pub(crate) fn add_candidate(
        &mut self,
        candidate: &Candidate,
        ufrag: Option<&str>,
        name: Name,
        resources: &mut Resources,
        now: Instant,
    ) {
        if self.ice.is_none() {
            return;
        }
        let added = match self.component_mut(candidate.component).and_then(Component::agent_mut) {
            Some(_) if !resources.may_send_to(candidate.address) => Err(Dropped::CandidateUnusable),
            Some(agent) => agent.add_remote_candidate(candidate, ufrag, now).map_err(Dropped::from),
            None => Ok(()), // of the component that muxing made superfluous
        };
        if let Err(reason) = added {
            resources.count_drop(reason);
        }
        if let Some(component) = self.component_mut(candidate.component) {
            component.drain_ice(name, resources, now);
        }
    }

    /// Learns that no more candidates will come.
    pub(crate) fn end_of_candidates(&mut self, name: Name, resources: &mut Resources, now: Instant) {
        for component in self.components_mut() {
            if let Some(agent) = component.agent_mut() {
                agent.end_of_candidates(now);
            }
            component.drain_ice(name, resources, now);
        }
    }

    /// Restarts ICE, or takes the peer's answer to our restart. Says what we are to be reached with now; `None` where
    /// there is no ICE.
    pub(crate) fn restart_ice(
        &mut self,
        remote: Option<&IceParameters>,
        name: Name,
        work: &mut Work<'_>,
    ) -> Option<IceParameters> {
        let session = self.ice.as_mut()?;
        match remote {
            Some(remote) => self.continue_ice(remote, name, work),
            None => {
                session.local = ice::new_credentials();
                session.restarting = true;
                let fresh = session.local.clone();
                for component in self.components_mut() {
                    if let Some(agent) = component.agent_mut() {
                        agent.restart(fresh.clone(), work.now);
                    }
                    component.drain_ice(name, work.resources, work.now);
                }
            }
        }
        self.ice.as_ref().map(|session| session.local.clone())
    }

    // Which stream an SSRC belongs to.

    /// The stream that an SSRC of the bundle was found to belong to.
    pub(crate) fn binding(&self, ssrc: Ssrc) -> Option<StreamId> {
        self.bindings.iter().find(|(bound, _)| *bound == ssrc).map(|(_, stream)| *stream)
    }

    /// Remembers which stream an SSRC belongs to (RFC 8843 §9.2).
    pub(crate) fn bind(&mut self, ssrc: Ssrc, stream: StreamId) {
        if let Some((_, bound)) = self.bindings.iter_mut().find(|(bound, _)| *bound == ssrc) {
            *bound = stream;
            return;
        }
        if self.bindings.len() == MAX_BINDINGS {
            self.bindings.remove(0);
        }
        self.bindings.push((ssrc, stream));
    }

    /// When one of its components has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.components().filter_map(Component::deadline).min()
    }
}
