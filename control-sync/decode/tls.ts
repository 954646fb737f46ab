/**
 * envoy.extensions.transport_sockets.tls.v3 → the model's TLS settings. SDS secrets `default` and `ROOTCA` are the
 * workload's own; everything that would make the check of a peer stricter and is not implemented is an issue, so that
 * no peer gets in by an omission.
 */
import type {
  CertificateRef,
  DownstreamTls,
  PeerValidation,
  Pins,
  RootsRef,
  SanMatch,
  TlsVersion,
  UpstreamTls,
} from '../../model/tls.ts'
import {
  CertificateValidationContext_TrustChainVerification as Trust,
  SubjectAltNameMatcher_SanType as San,
  TlsParameters_TlsProtocol as Version,
  TlsParameters_TlsProtocolSchema,
  type CertificateValidationContext,
  type SubjectAltNameMatcher,
  TlsCertificateSchema,
  TlsParametersSchema,
  type TlsCertificate,
  type TlsParameters,
} from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts'
import type { DataSource } from '../../proto/gen/envoy/config/core/v3/base_pb.ts'
import type { SdsSecretConfig } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'
import {
  CommonTlsContextSchema,
  DownstreamTlsContextSchema,
  type CommonTlsContext,
  type DownstreamTlsContext,
  type UpstreamTlsContext,
} from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { hasUnknown, refuse, type DecodePath } from './fields/decode-path.ts'
import { decodeStringMatch } from './fields/matchers.ts'
import { readFileText, decodeText } from './fields/values.ts'

export function decodeDownstreamTls(at: DecodePath, from: DownstreamTlsContext): DownstreamTls | undefined {
  refuse(at, DownstreamTlsContextSchema, from)
  const common = commonTls(at.in('common_tls_context'), from.commonTlsContext)
  const requireClientCertificate = from.requireClientCertificate ?? false
  if (!common.certificate) {
    at.in('common_tls_context').issue('a listener needs a certificate')
    return undefined
  }
  if (requireClientCertificate && !common.validation) {
    at.issue('require_client_certificate without roots to check against')
    return undefined
  }
  return { ...common, requireClientCertificate }
}

/**
 * The cluster's UpstreamHttpProtocolOptions: SNI is the host of the request, and the certificate is checked against it.
 */
export type AutoNames = { readonly sni: boolean; readonly san: boolean }

export function decodeUpstreamTls(at: DecodePath, from: UpstreamTlsContext, auto: AutoNames): UpstreamTls {
  const common = commonTls(at.in('common_tls_context'), from.commonTlsContext)
  const autoSan = from.autoSniSanValidation ? 'sni' : auto.san ? 'host' : undefined
  if (from.autoSniSanValidation && !common.validation)
    at.in('auto_sni_san_validation').issue('needs roots to check against')
  return {
    ...common,
    sni: from.sni,
    autoSni: from.sni === '' && auto.sni,
    ...(from.autoHostSni ? { sniOfEndpoint: true } : {}),
    ...(autoSan && common.validation ? { autoSan } : {}),
  }
}

function commonTls(at: DecodePath, from: CommonTlsContext | undefined): Omit<UpstreamTls, 'sni' | 'autoSni'> {
  refuse(at, CommonTlsContextSchema, from)
  refuse(at.in('tls_params'), TlsParametersSchema, from?.tlsParams)
  return {
    certificate: from && certificate(at, from),
    validation: from && validation(at, from),
    alpnProtocols: (from?.alpnProtocols ?? []).filter((name, i) => alpnFits(at.in('alpn_protocols').item(i), name)),
    ...parameters(at.in('tls_params'), from?.tlsParams),
  }
}

/** RFC 7301 §3.1: 1 to 255 bytes. */
function alpnFits(at: DecodePath, name: string): boolean {
  const fits = name.length > 0 && Buffer.byteLength(name) <= 255
  if (!fits) at.issue('must have 1 to 255 bytes')
  return fits
}

function parameters(
  at: DecodePath,
  from: TlsParameters | undefined,
): { minVersion: TlsVersion; maxVersion: TlsVersion; cipherSuites: readonly string[] } {
  const min = from?.tlsMinimumProtocolVersion ?? Version.TLS_AUTO
  const max = from?.tlsMaximumProtocolVersion ?? Version.TLS_AUTO
  if (min === Version.TLSv1_0 || min === Version.TLSv1_1)
    at.in('tls_minimum_protocol_version').ignore('TLS 1.2 is the oldest')
  if (max === Version.TLSv1_0 || max === Version.TLSv1_1)
    at.in('tls_maximum_protocol_version').issue('TLS 1.2 is the oldest that is spoken')
  for (const [field, version] of [
    ['tls_minimum_protocol_version', min],
    ['tls_maximum_protocol_version', max],
  ] as const) {
    if (!TlsParameters_TlsProtocolSchema.value[version]) at.in(field).issue(`unknown value ${version}`)
  }
  const minVersion = min === Version.TLSv1_3 ? 'TLSv1.3' : 'TLSv1.2'
  const maxVersion = max === Version.TLSv1_2 ? 'TLSv1.2' : 'TLSv1.3'
  if (minVersion > maxVersion) at.issue('the minimum version is above the maximum')
  return {
    minVersion,
    maxVersion,
    cipherSuites: (from?.cipherSuites ?? []).flatMap((suite, i) => suites(at.in('cipher_suites').item(i), suite)),
  }
}

/**
 * `[A|B]` is BoringSSL's group of equal preference. The names go into OpenSSL's list, whose operators (`!`, `+`, `@`,
 * `:`) may not come in this way.
 */
function suites(at: DecodePath, suite: string): string[] {
  const names = suite.replace(/^\[(.*)\]$/, '$1').split('|')
  const good = names.every((name) => /^[A-Z0-9][A-Z0-9_-]{0,63}$/i.test(name))
  if (!good) at.issue('is no cipher suite')
  return good ? names : []
}

function certificate(at: DecodePath, from: CommonTlsContext): CertificateRef | undefined {
  const [secret] = from.tlsCertificateSdsSecretConfigs
  const [inline] = from.tlsCertificates
  if (from.tlsCertificateSdsSecretConfigs.length + from.tlsCertificates.length > 1)
    at.ignore('only the first certificate is used')
  if (secret) return certificateSecret(at.in('tls_certificate_sds_secret_configs').item(0), secret)
  return inline && decodeCertificate(at.in('tls_certificates').item(0), inline)
}

/**
 * Istio's names of what comes from the control plane; so does whatever is to come over the aggregated stream. Of
 * `invalid://` nothing ever comes.
 */
function isSent({ name, sdsConfig }: SdsSecretConfig): boolean {
  return (
    /^(?:kubernetes|kubernetes-gateway|configmap|invalid):\/\//.test(name) ||
    (name !== '' && sdsConfig?.configSourceSpecifier.case === 'ads')
  )
}

/** Istio's names: `default` is the workload's, `file-cert:<chain>~<key>` names files. */
function certificateSecret(at: DecodePath, secret: SdsSecretConfig): CertificateRef | undefined {
  const { name } = secret
  if (name === 'default') return { from: 'workload' }
  const files = /^file-cert:([^~]+)~([^~]+)$/.exec(name)
  if (!files && isSent(secret)) return { from: 'secret', name }
  if (!files) {
    at.in('name').issue(
      `the secret ${JSON.stringify(name.slice(0, 128))} is not known: only default, file-cert: and what comes over ADS`,
    )
    return undefined
  }
  return certificateOf(fileSource(at.in('name'), files[1]!), fileSource(at.in('name'), files[2]!))
}

/** Of this machine and read when it is used, or PEM that is here already. */
type Source = { readonly file: string } | { readonly pem: string }

function fileSource(at: DecodePath, file: string): Source | undefined {
  if (at.readFile || !at.files) {
    const pem = readFileText(at, file)
    return pem === undefined ? undefined : { pem }
  }
  if (at.files.permits(file)) return { file }
  at.issue(
    `${JSON.stringify(file.slice(0, 256))} is in no folder from which files may be read (control.tlsFileFolders)`,
  )
  return undefined
}

function sourceOf(at: DecodePath, from: DataSource | undefined): Source | undefined {
  if (from?.specifier.case === 'filename') return fileSource(at.in('filename'), from.specifier.value)
  const pem = decodeText(at, from)
  return pem === undefined ? undefined : { pem }
}

function certificateOf(chain: Source | undefined, key: Source | undefined): CertificateRef | undefined {
  if (!chain || !key) return undefined
  if ('file' in chain && 'file' in key) return { from: 'files', chainFile: chain.file, keyFile: key.file }
  return 'pem' in chain && 'pem' in key ? { from: 'pem', chainPem: chain.pem, keyPem: key.pem } : undefined
}

function rootsOf(source: Source | undefined): RootsRef | undefined {
  if (!source) return undefined
  return 'file' in source ? { from: 'file', file: source.file } : { from: 'pem', rootsPem: source.pem }
}

export function decodeCertificate(at: DecodePath, from: TlsCertificate): CertificateRef | undefined {
  refuse(at, TlsCertificateSchema, from)
  const [chain, key] = [
    sourceOf(at.in('certificate_chain'), from.certificateChain),
    sourceOf(at.in('private_key'), from.privateKey),
  ]
  if (from.password || from.pkcs12) at.issue('password and pkcs12 are not supported')
  if (chain && key && 'file' in chain !== 'file' in key)
    at.issue('one of certificate and key is a file and the other is not')
  return certificateOf(chain, key)
}

function validation(
  at: DecodePath,
  { validationContextType: by, $unknown: unknown }: CommonTlsContext,
): PeerValidation | undefined {
  switch (by.case) {
    case 'validationContext':
      return peerValidation(at.in('validation_context'), by.value, undefined)
    case 'validationContextSdsSecretConfig':
      return withRoots(rootsSecret(at.in('validation_context_sds_secret_config'), by.value), [])
    case 'combinedValidationContext': {
      const here = at.in('combined_validation_context')
      const secret = by.value.validationContextSdsSecretConfig
      if (hasUnknown(by.value)) here.issue('holds fields that meshlet does not know')
      return peerValidation(
        here.in('default_validation_context'),
        by.value.defaultValidationContext,
        secret && rootsSecret(here.in('validation_context_sds_secret_config'), secret),
      )
    }
    case undefined:
      if (unknown?.some(({ no }) => no !== KEY_LOG)) at.issue('names its roots in a way that meshlet does not know')
      return undefined
    default:
      return by satisfies never
  }
}
/** CommonTlsContext.key_log: for debugging, and not written by meshlet. */
const KEY_LOG = 15

/** Of a secret. */
export function decodeValidation(at: DecodePath, from: CertificateValidationContext): PeerValidation | undefined {
  return peerValidation(at, from, undefined)
}

const withRoots = (roots: RootsRef | undefined, sans: readonly SanMatch[]): PeerValidation | undefined =>
  roots && { roots, sans }

/** @param fromSecret roots of the SDS secret; they replace the context's own. */
function peerValidation(
  at: DecodePath,
  from: CertificateValidationContext | undefined,
  fromSecret: RootsRef | undefined,
): PeerValidation | undefined {
  if (!from) return withRoots(fromSecret, [])
  refuseStricter(at, from)
  const sans = [
    ...from.matchTypedSubjectAltNames.flatMap(
      (m, i) => typedSan(at.in('match_typed_subject_alt_names').item(i), m) ?? [],
    ),
    ...from.matchSubjectAltNames.flatMap((m, i) => anySan(at.in('match_subject_alt_names').item(i), m) ?? []),
  ]
  const roots = fromSecret ?? ownRoots(at, from)
  const pins = decodePins(at, from)
  if (!roots && (sans.length > 0 || pins)) at.issue(`${pins ? 'pins' : 'names'} without roots prove nothing`)
  const crl = from.crl && sourceOf(at.in('crl'), from.crl)
  const validation = withRoots(roots, sans)
  const made = validation && pins ? { ...validation, pins } : validation
  return made && crl
    ? { ...made, crl: 'file' in crl ? { from: 'file', file: crl.file } : { from: 'pem', crlPem: crl.pem } }
    : made
}

/** Undefined where none are asked for. What cannot be one is an issue. */
function decodePins(at: DecodePath, from: CertificateValidationContext): Pins | undefined {
  const certificates = from.verifyCertificateHash.map((text, i) => {
    const hex = text.replaceAll(':', '').toLowerCase()
    if (!/^[0-9a-f]{64}$/.test(hex)) at.in('verify_certificate_hash').item(i).issue('is no SHA-256 in hex')
    return hex
  })
  const keys = from.verifyCertificateSpki.map((text, i) => {
    if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) at.in('verify_certificate_spki').item(i).issue('is no SHA-256 in base64')
    return text
  })
  return certificates.length + keys.length > 0 ? { certificates, keys } : undefined
}

function ownRoots(at: DecodePath, from: CertificateValidationContext): RootsRef | undefined {
  if (from.systemRootCerts) return { from: 'system' }
  if (!from.trustedCa) return undefined
  return rootsOf(sourceOf(at.in('trusted_ca'), from.trustedCa))
}

function refuseStricter(at: DecodePath, from: CertificateValidationContext): void {
  const refuse = (field: string, set: boolean): void => {
    if (set) at.in(field).issue('is not supported')
  }
  refuse('require_signed_certificate_timestamp', from.requireSignedCertificateTimestamp ?? false)
  refuse('custom_validator_config', from.customValidatorConfig !== undefined)
  refuse('ca_certificate_provider_instance', from.caCertificateProviderInstance !== undefined)
  refuse('max_verify_depth', from.maxVerifyDepth !== undefined)
  refuse('trust_chain_verification', from.trustChainVerification !== Trust.VERIFY_TRUST_CHAIN)
  if (hasUnknown(from)) at.issue('holds fields that meshlet does not know')
  if (from.allowExpiredCertificate) at.in('allow_expired_certificate').ignore('expired certificates are refused')
}

/** Istio's names: `ROOTCA` is the workload's, `file-root:<file>` a file, `file-root:system` the machine's. */
function rootsSecret(at: DecodePath, secret: SdsSecretConfig): RootsRef | undefined {
  const { name } = secret
  if (name === 'ROOTCA') return { from: 'workload' }
  if (name === 'system' || name === 'file-root:system') return { from: 'system' }
  if (name.startsWith('file-root:')) return rootsOf(fileSource(at.in('name'), name.slice('file-root:'.length)))
  if (isSent(secret)) return { from: 'secret', name }
  at.in('name').issue(
    `the secret ${JSON.stringify(name.slice(0, 128))} is not known: only ROOTCA, file-root: and what comes over ADS`,
  )
  return undefined
}

function typedSan(at: DecodePath, from: SubjectAltNameMatcher): SanMatch | undefined {
  const match = decodeStringMatch(at.in('matcher'), from.matcher)
  const type = sanType(from.sanType)
  if (!type) at.in('san_type').issue('only DNS, URI and IP_ADDRESS are supported')
  return match && type && { type, match }
}

function sanType(type: SubjectAltNameMatcher['sanType']): SanMatch['type'] | undefined {
  switch (type) {
    case San.DNS:
      return 'dns'
    case San.URI:
      return 'uri'
    case San.IP_ADDRESS:
      return 'ip'
    case San.SAN_TYPE_UNSPECIFIED:
    case San.EMAIL:
    case San.OTHER_NAME:
    default:
      return undefined
  }
}

function anySan(at: DecodePath, from: Parameters<typeof decodeStringMatch>[1]): SanMatch | undefined {
  const match = decodeStringMatch(at, from)
  return match && { type: 'any', match }
}
