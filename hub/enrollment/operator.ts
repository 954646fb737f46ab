/** What an operator decides about a device: it may come in, it is thrown out, its name is free. */
import { MeshError } from '../../core/errors.ts'
import { parseSpiffeId } from '../../model/identity.ts'
import { KEY_HOLDER, type Enrollment, type JoinRequest } from '../registry/enrollments.ts'
import type { Registry } from '../registry/registry.ts'

/** Key of a name that nobody may have: a device without a key of its own was thrown out. */
const NO_KEY = 'none:'

/** Where the name stands: who has it, who wants it, and who had streams under it. Empty: an identity without one. */
export async function findNamespaces(registry: Registry, name: string): Promise<readonly string[]> {
  const device = await registry.enrollments.byName(name)
  const waits = await registry.enrollments.request({ name })
  const node = parseSpiffeId((await registry.spiffeUriOf(name)) ?? '')
  return [...new Set([device, waits, node].flatMap((one) => (one ? [one.namespace ?? ''] : [])))]
}

/** As `findNamespaces`, for what is the device's own alone: who waits for the name that it has is another's device. */
export async function findHolderNamespaces(registry: Registry, name: string): Promise<readonly string[]> {
  const holder =
    (await registry.enrollments.byName(name)) ??
    parseSpiffeId((await registry.spiffeUriOf(name)) ?? '') ??
    (await registry.enrollments.request({ name }))
  return holder ? [holder.namespace ?? ''] : []
}

/**
 * @param keyId whom of two is meant: who waits under the name, or the device that has it and was found twice
 * @returns what happened. Throws MESH_CONFIG_INVALID when nobody of that name waits or was kept out, or it is not clear
 * who is meant.
 */
export function approveDevice(registry: Registry, name: string, nowMs: number, keyId?: string): Promise<string> {
  return registry.exclusively(async (tx) => {
    const asks = await tx.enrollments.request({ name })
    const known = await tx.enrollments.byName(name)
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
    if (waits) return await admit(tx, waits, known, nowMs)
    if (!known || (known.state === 'active' && known.clonedMs === null))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `nobody waits as ${JSON.stringify(name)}; meshlet-hub device list shows who does`,
      )
    if (known.keyId.startsWith(NO_KEY)) {
      await tx.enrollments.forget(name)
      return 'it may join again'
    }
    await tx.enrollments.resume(name, nowMs)
    return `key ${known.keyId}, which was ${known.clonedMs === null ? known.state : 'found twice'}`
  })
}

/** Who waits is let in no more; the device that has the name keeps it. @returns its key. Throws MESH_CONFIG_INVALID when nobody waits. */
export function denyDevice(registry: Registry, name: string): Promise<string> {
  return registry.exclusively(async (tx) => {
    const waits = await tx.enrollments.request({ name })
    if (!waits)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `nobody waits as ${JSON.stringify(name)}; meshlet-hub device list shows who does`,
      )
    await tx.enrollments.deny(name)
    return waits.keyId
  })
}

async function admit(tx: Registry, waits: JoinRequest, known: Enrollment | undefined, nowMs: number): Promise<string> {
  if (known?.keyId === waits.keyId && known.state === 'active' && !waits.why.startsWith('it has joined before')) {
    await tx.enrollments.resume(waits.name, nowMs)
    return `key ${waits.keyId}: ${waits.why}`
  }
  await tx.enrollments.enroll(waits, nowMs)
  return `key ${waits.keyId} from ${waits.address}: ${waits.why}`
}

/**
 * Certificates are refused and streams end at once, and nobody has the name until it is approved or forgotten.
 * @returns how many certificates were good until now. Throws MESH_CONFIG_INVALID for a name that is not known.
 */
export function revokeDevice(registry: Registry, name: string, nowMs: number): Promise<number> {
  return registry.exclusively(async (tx) => {
    const { enrollments } = tx
    const known = await enrollments.byName(name)
    if (known) {
      await enrollments.revoke(name, nowMs)
      return await enrollments.revokeCertificates(KEY_HOLDER + known.keyId, nowMs)
    }
    const waits = await enrollments.request({ name })
    const [holder, uri] = [await tx.holderOf(name), await tx.spiffeUriOf(name)]
    const { namespace, serviceAccount } = parseSpiffeId(uri ?? '') ?? waits ?? {}
    if (namespace === undefined || serviceAccount === undefined)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `no device ${JSON.stringify(name)} is known; meshlet-hub device list shows them`,
      )
    const address = waits?.address ?? ''
    await enrollments.enroll(
      { name, keyId: NO_KEY + name, namespace, serviceAccount, jti: null, labels: {}, address },
      nowMs,
    )
    await enrollments.revoke(name, nowMs)
    return holder === undefined ? 0 : await enrollments.revokeCertificates(holder, nowMs)
  })
}

/** The name is free for whoever has a token for it; what the device had is good for nothing. @returns whether it was known */
export function forgetDevice(registry: Registry, name: string, nowMs: number): Promise<boolean> {
  return registry.exclusively(async (tx) => {
    const known = await tx.enrollments.byName(name)
    if (known) await tx.enrollments.revokeCertificates(KEY_HOLDER + known.keyId, nowMs)
    return await tx.forgetDevice(name)
  })
}
