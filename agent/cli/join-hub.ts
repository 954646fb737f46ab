/**
 * `meshlet join https://hub …`: shows the token once, leaves the device with a key of its own, its first certificate and
 * an agent.yaml that a start needs nothing besides.
 */
import os from 'node:os'
import path from 'node:path'
import type { DeviceKey } from '../../control-sync/fleet/device/device-key.ts'
import { readRenewed } from '../../control-sync/fleet/device/device-authority.ts'
import { readIssued } from '../../control-sync/identity/ca-client.ts'
import { EnrollmentStore } from '../../control-sync/fleet/device/enrollment-store.ts'
import { askHub, type HubClientOptions } from '../../control-sync/fleet/hub-client.ts'
import { createCsr, createKey } from '../../control-sync/identity/csr.ts'
import { IdentityStore } from '../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../control-sync/identity/time-floor.ts'
import { bundle } from '../../core/runtime/bundle.ts'
import { systemClock } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { MeshError } from '../../core/errors.ts'
import { createLog } from '../../core/log.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { CERTIFIERS, JOIN_PATH, OWN_RELAY, type ControlSettings, type Joined } from '../../model/fleet/enrollment.ts'
import type { Identity } from '../../model/identity.ts'
import { readEnvironmentProxy } from '../../model/fleet/environment-proxy.ts'
import { loadConfig } from '../config/load.ts'
import type { AgentConfig } from '../config/schema.ts'
import { readState, writeControl } from '../config/write-control.ts'
import { prepareState, readSealer, readToken } from '../control-sync-settings.ts'
import { openKey } from '../fleet/hub-device.ts'
import { DEFAULT_CONFIG, type Io } from './io.ts'

export type JoinHubOptions = {
  readonly config?: string | undefined
  readonly token?: string
  readonly caPin: readonly string[]
  readonly name?: string
  readonly json: boolean
}

const DEFAULT_STATE = '/var/lib/meshlet'

/** Rejects with what the hub says, MESH_CONFIG_INVALID, MESH_TOKEN_INVALID, MESH_STATE_UNUSABLE. */
export async function joinHub(at: string, o: JoinHubOptions, io: Io): Promise<ExitCode> {
  const url = readUrl(at)
  const token = await findToken(o, io)
  const pins = o.caPin.length > 0 ? o.caPin : readPins(token)
  if (pins.length === 0)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      'the token names no root of its hub: --ca-pin sha256:… says whom it is for',
    )
  const file = path.resolve(o.config ?? DEFAULT_CONFIG)
  const text = systemDisk.read(file)?.toString('utf8') ?? ''
  const machine = readMachine(text, file)
  prepareState(machine.state, systemDisk)
  const log = createLog('silent')
  const builtAtMs = bundle && Date.parse(bundle.builtAt)
  using floor = new TimeFloor({ disk: systemDisk, clock: systemClock, log, stateFolder: machine.state, builtAtMs })
  const key = (await openKey(machine, systemDisk, 'make'))!
  const hub = {
    url,
    trust: { pins },
    key,
    clock: systemClock,
    certificateClock: floor,
    findProxy: () => readEnvironmentProxy(io.env),
  }
  const enrollment = new EnrollmentStore({ disk: systemDisk, stateFolder: machine.state })
  const named = { token, name: o.name ?? machine.name, isNameSaid: o.name !== undefined }
  const joined = await ask(hub, named, machine, enrollment)
  writeDown(joined, { url, file, text, machine })
  // Last of all: where something before it fails, the same request is made again, and is the same join.
  if (joined.joined.renewed) enrollment.answered(joined.joined.renewed)
  tell(joined, { json: o.json, key }, io)
  return 0
}

type Machine = Pick<AgentConfig, 'state' | 'identity'> & { readonly name: string | undefined }

/** What agent.yaml says that joining needs; there may be none yet, or one that is not whole without `control`. */
function readMachine(text: string, file: string): Machine {
  const state = readState(text) ?? DEFAULT_STATE
  const loaded = loadConfig(
    writeControl(text, {
      state,
      node: { name: 'x', namespace: 'x', serviceAccount: 'x' },
      control: { address: 'hub:1', roots: 'x' },
    }),
  )
  if (!loaded.ok)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${file}: ${loaded.problems.map((p) => `${p.path}: ${p.problem}`).join('; ')}`,
    )
  const own = loadConfig(text)
  return { state, identity: loaded.config.identity, name: own.ok ? own.config.node.name : undefined }
}

type Result = { readonly joined: Joined; readonly identity: Identity | undefined }

async function ask(
  hub: HubClientOptions,
  p: { readonly token: string; readonly name: string | undefined; readonly isNameSaid: boolean },
  machine: Machine,
  enrollment: EnrollmentStore,
): Promise<Result> {
  if (enrollment.load().counter > 0)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `this machine has joined already, and its key renews what it has; to join anew, remove ${path.join(machine.state, 'identity')}`,
    )
  const keyPem = await createKey(machine.identity.key)
  const { nonce } = enrollment.begin()
  const csr = createCsr(keyPem, 'spiffe://unknown/ns/unknown/sa/unknown')
  // A token for one name says which; one for several takes the machine's own, in the same request.
  const named = p.name ?? os.hostname()
  const answer = await askHub(hub, JOIN_PATH, {
    token: p.token,
    nonce,
    csr,
    ttlSec: 0,
    ...(p.isNameSaid ? { name: named } : { ownName: named }),
  })
  const joined = readJoined(answer.body, hub.url.host)
  const identity =
    joined.renewed && joined.renewed.certChain.length > 0
      ? readIssued(keyPem, joined.renewed.certChain, hub.url.host)
      : undefined
  if (identity) saveIdentity(identity, machine)
  return { joined, identity }
}

function saveIdentity(identity: Identity, machine: Machine): void {
  const sealer = readSealer(machine, systemDisk)
  const log = createLog('silent')
  new IdentityStore({ disk: systemDisk, clock: systemClock, log, stateFolder: machine.state, sealer }).save(identity)
}

function writeDown(
  { joined }: Result,
  p: { readonly url: URL; readonly file: string; readonly text: string; readonly machine: Machine },
): void {
  const folder = path.join(p.machine.state, 'identity')
  const [hubRoots, roots] = [path.join(folder, 'hub-roots.pem'), path.join(folder, 'control-roots.pem')]
  const { name, namespace, serviceAccount, control } = joined
  const byHub = control.certificates !== 'control-plane'
  // Everything comes over the connection that it joined by; it needs no other address.
  const isOwnRelay = control.address === OWN_RELAY
  const host = isOwnRelay ? OWN_RELAY + p.url.host : p.url.hostname + control.address
  const address = isOwnRelay || control.address.startsWith(':') ? host : control.address
  const text = writeControl(p.text, {
    state: p.machine.state,
    node: { name, namespace, serviceAccount },
    control: {
      address,
      roots,
      ...(control.serverName === undefined ? {} : { serverName: control.serverName }),
      // Who was revoked is told by the hub with the configuration; an istiod knows of no such list.
      ...(byHub ? { trustBundle: true } : {}),
      ...(isOwnRelay
        ? {}
        : { hub: { url: p.url.origin, roots: hubRoots, ...(byHub ? {} : { certificates: 'control-plane' }) } }),
    },
  })
  const loaded = loadConfig(text)
  if (!loaded.ok)
    throw new MeshError('MESH_CONTROL_PROTOCOL', `the hub's settings are none: ${loaded.problems[0]?.problem}`)
  try {
    systemDisk.makeFolder(folder, 0o700)
    if (!isOwnRelay) systemDisk.replace(hubRoots, joined.hubRootsPem, 0o644)
    systemDisk.replace(roots, control.rootsPem, 0o644)
    systemDisk.makeFolder(path.dirname(p.file), 0o755)
    systemDisk.replace(p.file, text, 0o644)
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `${p.file} or ${folder} cannot be written`, { cause })
  }
}

function tell({ joined, identity }: Result, { json, key }: { json: boolean; key: DeviceKey }, io: Io): void {
  const { name, state, namespace, serviceAccount } = joined
  const facts = {
    state,
    node: name,
    spiffeId: identity?.spiffeId.uri,
    notAfter: identity && new Date(identity.notAfterMs).toISOString(),
    key: key.keyId,
  }
  if (json) io.out(`${JSON.stringify(facts)}\n`)
  else if (state === 'pending')
    io.out(
      `${name} waits for approval, with the key ${key.keyId}: meshlet-hub device approve ${name}. Start the agent meanwhile; it asks again by itself\n`,
    )
  else
    io.out(
      identity
        ? `joined as ${name}, ${facts.spiffeId}, certificate valid until ${facts.notAfter}\n`
        : `joined as ${name}, ${namespace}/${serviceAccount}; the certificate comes from the control plane\n`,
    )
}

function readUrl(text: string): URL {
  const url = URL.parse(text)
  if (url?.protocol !== 'https:' || url.username !== '' || !/^\/?$/.test(url.pathname) || url.search !== '')
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${JSON.stringify(text.slice(0, 200))} is no https://HOST or https://HOST:PORT`,
    )
  return url
}

/** Of standard input or a file, never of the command line, which others see. */
async function findToken({ token: from }: JoinHubOptions, io: Io): Promise<string> {
  const isStandardInput = from === undefined || from === '-'
  const bytes = isStandardInput ? await io.standardInput() : systemDisk.read(from)
  const where = isStandardInput ? 'standard input' : from
  const token = bytes && readToken(bytes, where)
  if (token === undefined) throw new MeshError('MESH_TOKEN_INVALID', `--token: there is no token in ${where}`)
  return token
}

/** The pins that the hub has put into its token: whoever gave the token is believed. */
function readPins(token: string): readonly string[] {
  try {
    const { roots } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as {
      roots?: unknown
    }
    return Array.isArray(roots) ? roots.filter((r) => typeof r === 'string') : []
  } catch {
    return []
  }
}

/** Throws MESH_CONTROL_PROTOCOL. */
function readJoined(body: Readonly<Record<string, unknown>>, host: string): Joined {
  const { state, name, namespace, serviceAccount, trustDomain, hubRootsPem, renewed } = body
  const control = Object(body['control']) as Partial<ControlSettings>
  const texts = [name, namespace, serviceAccount, trustDomain, hubRootsPem, control.address, control.rootsPem]
  const { serverName = '', certificates = 'hub' } = control
  if (
    [...texts, serverName].some((text) => typeof text !== 'string') ||
    !CERTIFIERS.includes(certificates) ||
    (state !== 'active' && state !== 'pending')
  )
    throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers with something else than what joining means`)
  return {
    ...(body as unknown as Joined),
    ...(renewed === undefined ? {} : { renewed: readRenewed(renewed, host) }),
  }
}
