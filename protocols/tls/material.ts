/**
 * From the model's TLS settings to what OpenSSL needs: certificate, key, roots, versions, ciphers. Equal settings with
 * the same identity have equal keys, so that contexts can be shared between the many chains and clusters of a mesh that
 * differ only in names to check.
 */
import { hash } from 'node:crypto'
import tls from 'node:tls'
import { MeshError } from '../../core/errors.ts'
import type { Identity } from '../../model/identity.ts'
import type { DownstreamTls, UpstreamTls } from '../../model/tls.ts'

type AnyTls = DownstreamTls | UpstreamTls

export type Material = {
  /** Equal for equal content; changes with the identity when that is used. */
  readonly key: string
  readonly usesIdentity: boolean
  readonly options: tls.SecureContextOptions
}

/**
 * TLS 1.3 suites are not configurable in Envoy, and cipher_suites does not name them. Node takes both from one list and
 * switches TLS 1.3 off when the list has none of its suites.
 */
const TLS13_SUITES = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256'

/** Throws MESH_NO_IDENTITY when the settings use the workload's certificate or roots and there are none yet. */
export function selectMaterial(settings: AnyTls, identity: Identity | undefined): Material {
  const { certificate, validation } = settings
  const usesIdentity = certificate?.from === 'workload' || validation?.roots.from === 'workload'
  if (usesIdentity && !identity)
    throw new MeshError('MESH_NO_IDENTITY', 'the TLS settings use the workload certificate and the agent has none yet')
  return {
    key: `${settingsKey(settings)} ${usesIdentity && identity ? identityKey(identity) : '-'}`,
    usesIdentity,
    get options() {
      return optionsOf(settings, identity)
    },
  }
}

function optionsOf(settings: AnyTls, identity: Identity | undefined): tls.SecureContextOptions {
  const { certificate, validation, minVersion, maxVersion, cipherSuites } = settings
  return {
    minVersion,
    maxVersion,
    ...(certificate?.from === 'workload' && identity ? { cert: identity.chainPem, key: identity.keyPem } : {}),
    ...(certificate?.from === 'pem' ? { cert: certificate.chainPem, key: certificate.keyPem } : {}),
    ca: selectRoots(settings, identity),
    ...(validation?.crl?.from === 'pem' ? { crl: validation.crl.crlPem } : {}),
    ...(validation?.roots.from === 'workload' && identity?.crlPem !== undefined ? { crl: identity.crlPem } : {}),
    ...(cipherSuites.length === 0 ? {} : { ciphers: cipherList(cipherSuites) }),
  }
}

/** An empty list, never undefined: without a list Node would trust the public authorities that it carries. */
export function selectRoots({ validation }: AnyTls, identity: Identity | undefined): string[] {
  if (!validation) return []
  const { roots } = validation
  switch (roots.from) {
    case 'workload':
      return identity ? [identity.rootsPem] : []
    case 'pem':
      return [roots.rootsPem]
    case 'system':
      return tls.getCACertificates('system')
    // What was not looked up (with-files.ts, with-secrets.ts) makes nobody trusted.
    case 'secret':
    case 'file':
      return []
    default:
      return roots satisfies never
  }
}

/** BoringSSL's groups of equal preference, "[A|B]", become plain order. */
function cipherList(names: readonly string[]): string {
  return [TLS13_SUITES, ...names.map((n) => n.replace(/[[\]]/g, '').replaceAll('|', ':'))].join(':')
}

const settingsKeys = new WeakMap<AnyTls, string>()
function settingsKey(settings: AnyTls): string {
  const known = settingsKeys.get(settings)
  if (known !== undefined) return known
  const { certificate, validation, alpnProtocols, minVersion, maxVersion, cipherSuites } = settings
  const demands = 'requireClientCertificate' in settings ? settings.requireClientCertificate : undefined
  // The system's roots alone are 200 kB, and the key is part of many others.
  const key = hash(
    'sha256',
    JSON.stringify([
      certificate,
      validation?.roots,
      validation?.crl,
      validation?.pins,
      alpnProtocols,
      minVersion,
      maxVersion,
      cipherSuites,
      demands,
    ]),
    'base64',
  )
  settingsKeys.set(settings, key)
  return key
}

/** By object: an identity is replaced, never changed. */
const identityKeys = new WeakMap<Identity, string>()
let identitiesSeen = 0
function identityKey(identity: Identity): string {
  const known = identityKeys.get(identity)
  if (known !== undefined) return known
  const key = `identity ${++identitiesSeen}`
  identityKeys.set(identity, key)
  return key
}
