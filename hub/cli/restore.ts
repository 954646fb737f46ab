/**
 * `meshlet-hub restore`: the state of a backup, in the place of what is there. Who was thrown out since stays out, as
 * far as the registry of before can still be read; devices, which are further than the backup, each go on once.
 */
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import { asOwner } from '../../core/os/as-owner.ts'
import { readArchive, type ArchivedFile } from '../registry/archive/archive.ts'
import { applyRevocations, listRevocations } from '../registry/archive/revocations.ts'
import { isLaterThan, keepRollouts, pauseRestored, ROLLOUT_TABLES } from '../registry/archive/rollouts.ts'
import { takeOver } from '../registry/archive/take-over.ts'
import { openRegistry, Registry, type OpenRegistry } from '../registry/registry.ts'
import { HUB_GONE_MS } from '../registry/replicas.ts'
import { findRegistryFile, openStore } from '../open-state.ts'
import { silentLog } from '../../core/log.ts'
import { systemClock } from '../../core/os/clock.ts'
import { isRunning } from '../registry/running.ts'
import type { HubConfig } from '../config.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { CA, CONFIG, RESOURCES, syncOne } from './backup.ts'
import { loadNativeBinding, noteByOperator, readConfig, systemWorld, type ConfigOptions } from './open.ts'
import type { Io } from './io.ts'

const REGISTRY = 'registry.db'

/** Rejects with MESH_STATE_IN_USE while a hub runs, MESH_CONFIG_INVALID for what is no backup, MESH_STATE_UNUSABLE. */
export async function restoreBackup(name: string, o: ConfigOptions, io: Io): Promise<ExitCode> {
  const config = readConfig(o)
  fs.mkdirSync(config.state, { recursive: true, mode: 0o700 })
  const nativeBinding = loadNativeBinding(config)
  if (asOwner(config.state, () => isRunning(config.state, nativeBinding)) === true)
    throw new MeshError('MESH_STATE_IN_USE', `a hub runs on ${config.state}; stop it first`)
  const done = await replaceState(path.resolve(name), config, { nativeBinding, io })
  const resources = putResources(config, done.files)
  const same = done.files.find((f) => f.name === CONFIG)?.content.equals(fs.readFileSync(o.config))
  io.out(
    `restored: ${config.state}; ${done.kept} revocation(s) of before were kept, each device goes on once with what it has; ${resources}${same === false ? '; hub.yaml of the backup was another, and is left as it is here' : ''}\n`,
  )
  return 0
}

type Restored = { readonly files: readonly ArchivedFile[]; readonly kept: number }

/** What touches the folder does so as its owner. */
async function replaceState(
  file: string,
  config: HubConfig,
  p: { nativeBinding: object | undefined; io: Io },
): Promise<Restored> {
  const { state } = config
  const beside = path.join(state, `restore-${randomUUID()}`)
  try {
    const files = asOwner(state, () => unpack(file, beside, p.nativeBinding))
    const open = (registry: string): OpenRegistry => asOwner(state, () => openRegistry(registry, p.nativeBinding))
    const restored = open(path.join(beside, REGISTRY))
    if (config.store) {
      const kept = await replaceDatabase(restored, config, { ...p, file })
      asOwner(state, () => swap(state, beside, new Map([['ca', path.join(state, 'ca')]])))
      return { files, kept }
    }
    const target = findRegistryFile(config)
    const before = fs.existsSync(target) ? (): OpenRegistry => open(target) : undefined
    const kept = await finishRegistry(restored, before, { ...p, file })
    asOwner(state, () =>
      swap(
        state,
        beside,
        new Map([
          ['ca', path.join(state, 'ca')],
          [REGISTRY, target],
        ]),
      ),
    )
    return { files, kept }
  } finally {
    fs.rmSync(beside, { recursive: true, force: true })
  }
}

function unpack(file: string, beside: string, nativeBinding: object | undefined): readonly ArchivedFile[] {
  fs.mkdirSync(beside, { mode: 0o700 })
  const files = readArchive(file, { registryFile: path.join(beside, REGISTRY), nativeBinding })
  fs.mkdirSync(path.join(beside, 'ca'), { mode: 0o700 })
  for (const { name, content } of files) {
    if (!name.startsWith(CA)) continue
    const target = path.join(beside, 'ca', path.basename(name))
    fs.writeFileSync(target, content, { mode: 0o600 })
    syncOne(target)
  }
  return files
}

/** @returns how much of what was revoked since is revoked in it now, too */
async function finishRegistry(
  restored: OpenRegistry,
  before: (() => OpenRegistry) | undefined,
  p: { readonly io: Io; readonly file: string },
): Promise<number> {
  await using registry = restored
  await registry.enrollments.resyncAll()
  await registry.nobodyConnected()
  // Whoever was logged out since would be logged in again, and links that were used would be good once more.
  await registry.sessions.endAll()
  const { kept, rollouts } = before ? await takeFromBefore(registry, before) : NOTHING_OF_BEFORE
  if (!rollouts) await pauseRestored(registry.store)
  const detail = describeKept(kept, rollouts)
  await noteByOperator(registry, p.io, { event: 'hub.restored', subject: p.file, detail })
  return kept
}

type OfBefore = { readonly kept: number; readonly rollouts: boolean }
const NOTHING_OF_BEFORE: OfBefore = { kept: 0, rollouts: false }
const describeKept = (kept: number, rollouts: boolean): string =>
  `${kept} revocation(s) of before kept${rollouts ? ', and its rollouts' : ''}`

async function takeFromBefore(registry: OpenRegistry, before: () => OpenRegistry): Promise<OfBefore> {
  let kept = 0
  try {
    await using old = before()
    kept = await registry.takeRevocations(old)
    const rollouts = await isLaterThan(old.store, registry.store)
    if (rollouts) await keepRollouts(old.store, registry.store)
    return { kept, rollouts }
  } catch {
    // What is to be replaced may be damaged: that is why it is.
    return { kept, rollouts: false }
  }
}

/** Of all hubs on the database; in one transaction, with what was revoked before. */
async function replaceDatabase(
  restored: OpenRegistry,
  config: HubConfig,
  p: { readonly io: Io; readonly file: string },
): Promise<number> {
  await using source = restored
  await using target = await openStore(config, { ...systemWorld, log: silentLog }, undefined)
  return await source.store.transaction((from) =>
    target.store.transaction(async (tx) => {
      const registry = new Registry(tx)
      const aliveMs = (await registry.aliveMs()) ?? 0
      if (Math.abs(systemClock.wallMs() - aliveMs) < HUB_GONE_MS)
        throw new MeshError(
          'MESH_STATE_IN_USE',
          'a hub runs on the database, or did half a minute ago; stop all of them first',
        )
      const revoked = await listRevocations(tx)
      const rollouts = await isLaterThan(tx, from)
      await takeOver(from, tx, rollouts ? ROLLOUT_TABLES : [])
      if (!rollouts) await pauseRestored(tx)
      await registry.enrollments.resyncAll()
      await registry.nobodyConnected()
      await registry.sessions.endAll()
      const kept = await applyRevocations(tx, revoked)
      const detail = describeKept(kept, rollouts)
      await noteByOperator(registry, p.io, { event: 'hub.restored', subject: p.file, detail })
      return kept
    }),
  )
}

/**
 * The CA first: without the registry beside it no certificate is believed.
 * @param targets where each of `beside` belongs
 */
function swap(state: string, beside: string, targets: ReadonlyMap<string, string>): void {
  const old = path.join(state, `before-restore-${randomUUID()}`)
  fs.mkdirSync(old, { mode: 0o700 })
  for (const [name, target] of targets)
    for (const end of ['', '-wal', '-shm'])
      if (fs.existsSync(target + end)) move(target + end, path.join(old, name + end))
  for (const [name, target] of targets) {
    move(path.join(beside, name), target)
    syncOne(path.dirname(target))
  }
  syncOne(state)
}

/** A registry of `--store` may lie on another file system. */
function move(from: string, to: string): void {
  try {
    fs.renameSync(from, to)
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EXDEV') throw err
    fs.cpSync(from, to, { recursive: true })
    syncOne(to)
    fs.rmSync(from, { recursive: true })
  }
}

/** Only where there are none: what an operator has written since is not written over. */
function putResources({ resources }: HubConfig, files: readonly ArchivedFile[]): string {
  const own = files.filter(({ name }) => name.startsWith(RESOURCES))
  if (fs.existsSync(resources) && fs.readdirSync(resources).length > 0) return `${resources} is left as it is`
  for (const { name, content } of own) {
    const target = path.join(resources, name.slice(RESOURCES.length))
    // A backup that somebody else made must not write elsewhere.
    if (!path.resolve(target).startsWith(path.resolve(resources) + path.sep)) continue
    fs.mkdirSync(path.dirname(target), { recursive: true })
    fs.writeFileSync(target, content)
  }
  return `${own.length} resource file(s) put to ${resources}`
}
