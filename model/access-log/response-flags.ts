/** Envoy's response flags, short and long. https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage */
export const LONG_FLAGS: Readonly<Record<string, string>> = {
  UH: 'NoHealthyUpstream',
  UF: 'UpstreamConnectionFailure',
  UO: 'UpstreamOverflow',
  NR: 'NoRouteFound',
  URX: 'UpstreamRetryLimitExceeded',
  NC: 'NoClusterFound',
  DT: 'DurationTimeout',
  DC: 'DownstreamConnectionTermination',
  LH: 'FailedLocalHealthCheck',
  UT: 'UpstreamRequestTimeout',
  LR: 'LocalReset',
  UR: 'UpstreamRemoteReset',
  UC: 'UpstreamConnectionTermination',
  DI: 'DelayInjected',
  FI: 'FaultInjected',
  RL: 'RateLimited',
  UAEX: 'UnauthorizedExternalService',
  RLSE: 'RateLimitServiceError',
  IH: 'InvalidEnvoyRequestHeaders',
  SI: 'StreamIdleTimeout',
  DPE: 'DownstreamProtocolError',
  UPE: 'UpstreamProtocolError',
  UMSDR: 'UpstreamMaxStreamDurationReached',
  RFCF: 'ResponseFromCacheFilter',
  NFCF: 'NoFilterConfigFound',
  OM: 'OverloadManagerTerminated',
  DF: 'DnsResolutionFailed',
  DO: 'DropOverload',
  DR: 'DownstreamRemoteReset',
  UDO: 'UnconditionalDropOverload',
}

/** Flags that meshlet has and Envoy does not, as Envoy would say them; the others are nothing there. */
const AS_ENVOY: Readonly<Record<string, string>> = {
  // A handshake with an endpoint that fails is a connection that fails.
  IDENTITY_ERROR: 'UF',
  NO_IDENTITY: 'UF',
  OVERFLOW: 'OM',
}

/** As `toEnvoyFlags`, in one text. '-' = none. */
export function formatEnvoyFlags(flags: string): string {
  return flags === '-' ? flags : toEnvoyFlags(flags).join(',') || '-'
}

/** @param flags of core/errors, joined by commas; '-' = none */
export function toEnvoyFlags(flags: string): readonly string[] {
  if (flags === '-') return []
  return [...new Set(flags.split(',').map((flag) => AS_ENVOY[flag] ?? flag))].filter((flag) => flag in LONG_FLAGS)
}
