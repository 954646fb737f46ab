/**
 * Transparent capture as docs/istio.md has it: the rules of deploy/edge, and an agent that gets its sockets passed.
 */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { temporaryFolder, type Finally } from '../../programs.ts'
import type { MeshAgent } from './mesh-agent.ts'
import { shell } from './network-namespace.ts'

const EDGE = path.resolve(import.meta.dirname, '../../../../deploy/edge')
/** Anything but root's: meshlet's user on this machine. */
export const MESHLET_UID = 61_184

/** See Agent.launcher. */
export const CAPTURE_LAUNCHER = [
  'python3',
  path.join(import.meta.dirname, 'pass-sockets.py'),
  String(MESHLET_UID),
  '15001,15006',
]

/** Its files, to the user that it runs as. */
export function giveToMeshlet({ agent }: MeshAgent): void {
  shell(`chown -R ${MESHLET_UID} ${agent.folder} ${agent.bundleFolder}`)
}

/**
 * What meshlet-capture-rules.service does, with a user that need not have a name.
 * @param o.uid whose connections are spared
 * @param o.enter what a command begins with that runs in another network namespace
 */
export function setCaptureRules(
  t: Finally,
  o: { readonly uid: number; readonly inboundPorts: readonly number[]; readonly enter?: readonly string[] },
): void {
  const text = fs.readFileSync(path.join(EDGE, 'meshlet-capture.nft'), 'utf8')
  assert.match(text, /meta skuid "meshlet" return/)
  const ports = /^define INBOUND_PORTS = .*$/m
  assert.match(text, ports)
  const file = path.join(temporaryFolder(t), 'capture.nft')
  fs.writeFileSync(
    file,
    text
      .replaceAll('skuid "meshlet"', `skuid ${o.uid}`)
      .replace(ports, `define INBOUND_PORTS = { ${o.inboundPorts.join(', ')} }`),
  )
  const steps = (step: string): string[] =>
    [
      ...fs
        .readFileSync(path.join(EDGE, 'meshlet-capture-rules.service'), 'utf8')
        .matchAll(new RegExp(`^Exec${step}=-?(.*)$`, 'gm')),
    ].map((m) =>
      [...(o.enter ?? []), m[1]!.replace('/etc/meshlet/capture.nft', file).replace(/^\/usr\/sbin\//, '')].join(' '),
    )
  t.after(() => {
    shell(...steps('Stop'))
  })
  shell(...steps('Start'))
}
