/** Each view when its answer is on the way, is a refusal, does not come, and comes again; and when the session is over. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { findViolations } from './axe.ts'
import { seedDevices, seedEnrolment, seedRollouts } from './fleet.ts'
import { openConsole, SCREENS, shoot, startBrowser, startConsoleHub } from './rig.ts'

/** What of the API each view cannot do without. */
const VIEWS = [
  { name: 'overview', path: '/', api: '**/api/v1/overview', shows: 'What is wrong' },
  { name: 'devices', path: '/devices', api: '**/api/v1/devices?*', shows: 'gw-00005' },
  { name: 'device', path: '/devices/gw-00005', api: '**/api/v1/devices/gw-00005', shows: 'SPIFFE id' },
  { name: 'enrolment', path: '/enrolment', api: '**/api/v1/enrolment', shows: 'Waiting for approval' },
  { name: 'rollouts', path: '/rollouts', api: '**/api/v1/rollouts', shows: 'In force' },
  { name: 'rollout', path: '/rollouts/:active', api: '**/api/v1/rollouts/:active', shows: 'When it stops by itself' },
  { name: 'audit', path: '/audit', api: '**/api/v1/audit?*', shows: 'operator:root' },
  { name: 'sessions', path: '/sessions', api: '**/api/v1/sessions', shows: 'Last seen' },
] as const
const REFUSAL = { code: 'MESH_STORAGE_FAILED', message: 'the registry cannot be read', remedy: 'Look at its disk.' }

test('every view says that it loads, what went wrong, and goes on by itself when the hub is back', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 60, Date.now())
  await seedEnrolment(rig.hub, Date.now())
  const active = await seedRollouts(rig.hub, Date.now())
  const browser = await startBrowser(t)
  for (const [i, view] of VIEWS.entries())
    await t.test(view.name, async () => {
      const screen = SCREENS[i % SCREENS.length]!
      const { page, context } = await openConsole(browser, rig, { screen })
      const [path, api] = [view.path.replace(':active', active), view.api.replace(':active', active)]
      let mode: 'wait' | 'refuse' | 'gone' | 'pass' = 'wait'
      await page.route(api, async (route) => {
        if (mode === 'refuse') await route.fulfill({ status: 503, json: REFUSAL })
        else if (mode === 'gone') await route.abort()
        else if (mode === 'pass') await route.fallback()
      })
      await page.goto(path)
      await page.getByText('Loading…').first().waitFor()
      mode = 'refuse'
      await page.goto(path)
      await page.getByRole('alert').getByText(REFUSAL.message).waitFor()
      await page.getByRole('alert').getByText(REFUSAL.remedy).waitFor()
      assert.deepEqual(await findViolations(page), [])
      await shoot(page, `error-${view.name}.${screen.name}`)
      mode = 'gone'
      await page.getByRole('button', { name: 'Try again' }).first().click()
      await page.getByRole('alert').getByText('The hub does not answer.').waitFor()
      mode = 'pass'
      await page.getByText(view.shows).first().waitFor()
      await page.getByText('The hub does not answer.').waitFor({ state: 'detached' })
      await rig.hub.registry.sessions.endOf('operator:root')
      await page.getByText('meshlet-hub login', { exact: true }).waitFor()
      assert.deepEqual(await findViolations(page), [])
      await context.close()
    })
})
