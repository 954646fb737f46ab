/** What an operator decides about a device: it may come in, it is thrown out, its name is free. */
import { MeshError } from '../../core/errors.ts'
import { parseSpiffeId } from '../../model/identity.ts'
import { KEY_HOLDER, type Enrollment, type JoinRequest } from '../registry/enrollments.ts'
import type { Registry } from '../registry/registry.ts'

/** Key of a name that nobody may have: a device without a key of its own was thrown out. */
const NO_KEY = 'none:'

/**
 * @param keyId whom of two is meant: who waits under the name, or the device that has it and was found twice
 * @returns what happened. Throws MESH_CONFIG_INVALID when nobody of that name waits or was kept out, or it is not clear
 * who is meant.
 */
export function approveDevice(registry: Registry, name: string, nowMs: number, keyId?: string): string {
  return registry.exclusively(() => {
    const asks = registry.enrollments.request({ name })
    const known = registry.enrollments.byName(name)
    const isKeptOut = known && (known.state !== 'active' || known.clonedMs !== null)
    // Who wants the name of a device that was found twice must not get it by the word that was meant for the device.
    if (keyId === undefined && asks && isKeptOut && asks.keyId !== known.keyId)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `two wait as ${name}: the device with the key ${known.keyId}, and ${asks.keyId} from ${asks.address}; --key says which`,
      )
    if (keyId !== undefined && keyId !== asks?.keyId && keyId !== known?.keyId)
      throw new MeshError('MESH_CONFIG_INVALID', `nobody with the key ${JSON.stringify(keyId)} waits as ${name}`)
    const waits = keyId === undefined || keyId === asks?.keyId ? asks : undefined
    if (waits) return admit(registry, waits, known, nowMs)
    if (!known || (known.state === 'active' && known.clonedMs === null))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `nobody waits as ${JSON.stringify(name)}; meshlet-hub device list shows who does`,
      )
    if (known.keyId.startsWith(NO_KEY)) {
      registry.enrollments.forget(name)
      return 'it may join again'
    }
    registry.enrollments.resume(name, nowMs)
    return `key ${known.keyId}, which was ${known.clonedMs === null ? known.state : 'found twice'}`
  })
}

/** Who waits is let in no more; the device that has the name keeps it. @returns its key. Throws MESH_CONFIG_INVALID when nobody waits. */
export function denyDevice(registry: Registry, name: string): string {
  return registry.exclusively(() => {
    const waits = registry.enrollments.request({ name })
    if (!waits)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `nobody waits as ${JSON.stringify(name)}; meshlet-hub device list shows who does`,
      )
    registry.enrollments.deny(name)
    return waits.keyId
  })
}

function admit(registry: Registry, waits: JoinRequest, known: Enrollment | undefined, nowMs: number): string {
  if (known?.keyId === waits.keyId && known.state === 'active' && !waits.why.startsWith('it has joined before')) {
    registry.enrollments.resume(waits.name, nowMs)
    return `key ${waits.keyId}: ${waits.why}`
  }
  registry.enrollments.enroll(waits, nowMs)
  return `key ${waits.keyId} from ${waits.address}: ${waits.why}`
}

/**
 * Certificates are refused and streams end at once, and nobody has the name until it is approved or forgotten.
 * @returns how many certificates were good until now. Throws MESH_CONFIG_INVALID for a name that is not known.
 */
export function revokeDevice(registry: Registry, name: string, nowMs: number): number {
  return registry.exclusively(() => {
    const { enrollments } = registry
    const known = enrollments.byName(name)
    if (known) {
      enrollments.revoke(name, nowMs)
      return enrollments.revokeCertificates(KEY_HOLDER + known.keyId, nowMs)
    }
    const waits = enrollments.request({ name })
    const [holder, uri] = [registry.holderOf(name), registry.spiffeUriOf(name)]
    const { namespace, serviceAccount } = parseSpiffeId(uri ?? '') ?? waits ?? {}
    if (namespace === undefined || serviceAccount === undefined)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `no device ${JSON.stringify(name)} is known; meshlet-hub device list shows them`,
      )
    const address = waits?.address ?? ''
    enrollments.enroll({ name, keyId: NO_KEY + name, namespace, serviceAccount, jti: null, labels: {}, address }, nowMs)
    enrollments.revoke(name, nowMs)
    return holder === undefined ? 0 : enrollments.revokeCertificates(holder, nowMs)
  })
}

/** The name is free for whoever has a token for it; what the device had is good for nothing. @returns whether it was known */
export function forgetDevice(registry: Registry, name: string, nowMs: number): boolean {
  return registry.exclusively(() => {
    const known = registry.enrollments.byName(name)
    if (known) registry.enrollments.revokeCertificates(KEY_HOLDER + known.keyId, nowMs)
    return registry.forgetDevice(name)
  })
}
