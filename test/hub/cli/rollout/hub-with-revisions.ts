/** A hub that was there for a while: two revisions, the second in force, one device. */
import fs from 'node:fs'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { systemClock } from '../../../../core/os/clock.ts'
import { systemDisk } from '../../../../core/os/disk.ts'
import { readHubConfig } from '../../../../hub/config.ts'
import { openRegistry } from '../../../../hub/registry/registry.ts'
import { startConfiguration } from '../../../../hub/source/start.ts'
import { makeCluster } from '../../source/resource-files.ts'
import { hubCli } from '../hub-cli.ts'
import { token } from '../../registry/first-rows.ts'

export async function makeHubWithRevisions(t: { after(fn: () => void | Promise<void>): void }) {
  const { cli, config, folder } = hubCli(t)
  await cli('token', 'list', '-c', config)
  const registry = openRegistry(`${folder}/state/registry.db`)
  t.after(() => registry[Symbol.asyncDispose]())
  const write = (file: string, text: string): void => fs.writeFileSync(`${folder}/resources/${file}`, text)
  const takes = async (): Promise<string> => {
    const settings = readHubConfig(config, systemDisk)
    const parts = { registry, clock: systemClock, log: silentLog, metrics: new Metrics() }
    await using _running = await startConfiguration(
      { ...settings, rollout: { ...settings.rollout, soakSec: 0 } },
      parts,
    )
    const { revision } = await registry.rollouts.folder()
    while ((await registry.rollouts.assignments())[0]?.revision !== revision)
      await new Promise((resolve) => {
        setTimeout(resolve, 50)
      })
    return revision!
  }
  await registry.addToken({ ...token, expiresMs: 1e15 })
  const spiffeUri = 'spiffe://cluster.local/ns/edge/sa/gateway'
  await registry.claimName({ name: 'gw-1', nodeId: 'gw-1', spiffeUri, ip: '', holder: 'k', jti: 'j1', nowMs: 0 })
  write('a.yaml', makeCluster('a'))
  const first = await takes()
  write('a.yaml', makeCluster('a', '3s'))
  write('b.yaml', makeCluster('b'))
  const second = await takes()
  return { cli, config, folder, registry, first, second }
}
