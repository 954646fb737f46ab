/**
 * `npm run demo`: the main job with real processes, then the addresses to try by hand until Ctrl-C. `npm run demo --
 * --once`: the tour alone; exit code 0 only if every claim held; the last line is a JSON object of the figures.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { readOptions } from '../tools/options.ts'
import { App } from './services.ts'
import { ORDERS, PLC } from './resources.ts'
import { Site } from './site.ts'
import { joinThird, showConsole, showRollout } from './fleet-steps.ts'
import { showDevices, enroll, showHttp, showMqtt, showOffline, showPolicy, showReunion } from './steps.ts'
import { Tour } from './tour.ts'

const { values } = readOptions(
  { options: { once: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } } },
  'npm run demo -- [--once] [--keep]',
)
execFileSync(process.execPath, [path.resolve(import.meta.dirname, '../tools/build/build.ts')], {
  stdio: ['ignore', 'ignore', 'inherit'],
})
// As an installation does.
execFileSync(process.execPath, [path.resolve(import.meta.dirname, '../dist/meshlet.cjs'), 'precompile'], {
  stdio: 'ignore',
})

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-demo-'))
const tour = new Tour()
console.log(`meshlet demo · everything below runs on 127.0.0.1, files in ${folder}`)
{
  await using site = await Site.create(folder)
  using app = new App(site.edge.proxy)
  try {
    await enroll(site, tour)
    await showHttp(site, tour, app)
    const { sensor, control, ledger } = await showDevices(site)
    const sent = await showMqtt(site, tour, sensor, control, ledger)
    await showOffline(site, tour, app, sensor, sent)
    await showReunion(site, tour, ledger, sent)
    await showPolicy(site, tour, app, control)
    await joinThird(site, tour)
    await showRollout(site, tour)
    await showConsole(site, tour)
    if (!values.once) await stayUp(site)
    await Promise.all([sensor.endAsync(true), control.endAsync(true)])
  } catch (err) {
    tour.failed.push(err instanceof Error ? err.message : String(err))
    console.error(err)
  }
}
if (values.keep || tour.failed.length) console.log(`\nFiles are kept in ${folder}`)
else fs.rmSync(folder, { recursive: true, force: true })
console.log(
  tour.failed.length ? `\nNot everything held:\n${tour.failed.map((f) => ` - ${f}`).join('\n')}` : '\nEvery step held.',
)
console.log(JSON.stringify(tour.figures))
process.exit(tour.failed.length ? 1 : 0)

async function stayUp(site: Site): Promise<void> {
  console.log(`
Everything stays up; try it by hand (Ctrl-C ends it):
  curl -x http://127.0.0.1:${site.edge.proxy} http://${ORDERS}/orders/1      through edge and cloud, mTLS between them
  curl -x http://127.0.0.1:${site.edge.proxy} http://${PLC}/speed       at the site itself
  mosquitto_sub -p ${site.cloud.mqtt} -t 'telemetry/#' -v &                          at cloud
  mosquitto_pub -p ${site.edge.mqtt} -t telemetry/line1 -m 21.5 -q 1                 at edge
  node dist/meshlet.cjs status --admin 127.0.0.1:${site.edge.admin}                   what edge says of itself
  $EDITOR ${path.join(site.folder, 'resources/cloud/policy.yaml')}
  node dist/meshlet-hub.cjs login --config ${path.join(site.folder, 'hub.yaml')}      another link to the console
  node dist/meshlet-hub.cjs devices --config ${path.join(site.folder, 'hub.yaml')}    and rollout list, audit, …`)
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
  console.log('\nstopping …')
}
