/** Everything that can be decided can be decided without a mouse, and what happens is said to whoever does not see it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { forgetDevice } from '../../hub/enrollment/operator.ts'
import { seedDevices, seedEnrolment } from './fleet.ts'
import { enterDialog, escapeDialog, tabTo, untilFocused, untilInDialog } from './keys.ts'
import { openConsole, SCREENS, startBrowser, startConsoleHub } from './rig.ts'

/** What the browser does between two keys differs from time to time. */
const HASTES = 20

test('a walk by keyboard alone: from the overview to a device, its revocation, and back', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 240, Date.now())
  await seedEnrolment(rig.hub, Date.now())
  const browser = await startBrowser(t)
  const { page, complaints } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.reload()
  await page.getByText('What is wrong').waitFor()
  await tabTo(page, 'Skip to content', 1)
  await tabTo(page, 'Devices')
  await page.keyboard.press('Enter')
  await page.getByText('gw-00005').waitFor()
  // The heading of the new view.
  await untilFocused(page, 'Devices')
  await tabTo(page, 'gw-00000')
  for (const next of ['gw-00001', 'gw-00002', 'gw-00003']) {
    await page.keyboard.press('ArrowDown')
    await untilFocused(page, next)
  }
  await page.keyboard.press('End')
  await untilFocused(page, 'gw-new')
  await page.keyboard.press('Home')
  await untilFocused(page, 'gw-00000')
  await page.keyboard.press('PageDown')
  await untilFocused(page, (name) => /^gw-\d{5}$/.test(name) && name > 'gw-00005')
  await page.keyboard.press('Home')
  await untilFocused(page, 'gw-00000')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'gw-00000' }).waitFor()
  await page.getByText('SPIFFE id').waitFor()
  await untilFocused(page, 'gw-00000')
  await tabTo(page, 'Revoke')
  await enterDialog(page, 'Revoke gw-00000?')
  await escapeDialog(page, 'Revoke')
  await enterDialog(page, 'Revoke gw-00000?')
  await tabTo(page, 'Revoke', 4)
  await page.keyboard.press('Enter')
  await page.getByRole('status').getByText('gw-00000 is revoked.').waitFor()
  assert.equal((await rig.hub.registry.enrollments.byName('gw-00000'))?.state, 'revoked')
  // The button that the dialog came from is gone.
  await page.getByRole('button', { name: 'Revoke' }).waitFor({ state: 'detached' })
  await untilFocused(page, 'gw-00000')
  await page.goBack()
  await page.getByRole('heading', { name: 'Devices' }).waitFor()
  assert.deepEqual(complaints, [])
})

test('rows that go leave the focus in the list, and a hub that does not answer takes no row away', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 240, Date.now())
  const browser = await startBrowser(t)
  const { page } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto('/devices')
  await page.getByText('Live', { exact: true }).waitFor()
  await page.getByText('gw-00000').waitFor()
  await tabTo(page, 'gw-00000')
  await page.keyboard.press('ArrowDown')
  await untilFocused(page, 'gw-00001')
  await forgetDevice(rig.hub.registry, 'gw-00001', Date.now())
  await page.getByText('gw-00001').waitFor({ state: 'detached' })
  await untilFocused(page, 'gw-00002')
  await page.evaluate("document.querySelector('.grid-body').scrollTop = 1e9")
  await page.getByText('gw-00239').waitFor()
  await page.keyboard.press('ArrowDown')
  await untilFocused(page, 'gw-00003')
  await page.route('**/api/v1/devices?*', (route) => route.abort())
  await forgetDevice(rig.hub.registry, 'gw-00005', Date.now())
  await page.getByRole('alert').getByText('The hub does not answer.').waitFor()
  await page.getByText('gw-00005').waitFor()
  await untilFocused(page, 'gw-00003')
})

test('a dialog that is closed and opened again in one breath is open', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 3, Date.now())
  const browser = await startBrowser(t)
  const { page } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  for (const [path, button, title] of [
    ['/devices/gw-00000', 'Revoke', 'Revoke gw-00000?'],
    ['/enrolment', 'New token', 'New token'],
  ] as const) {
    await page.goto(path)
    await page.getByRole('button', { name: button }).waitFor()
    await tabTo(page, button)
    await enterDialog(page, title)
    for (let i = 0; i < HASTES; i++) {
      await Promise.all([page.keyboard.press('Escape'), page.keyboard.press('Enter')])
      await untilInDialog(page, title)
    }
    await escapeDialog(page, button)
  }
})

test('a token is made by keyboard, and is shown once', async (t) => {
  const rig = await startConsoleHub(t)
  const browser = await startBrowser(t)
  const { page } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto('/enrolment')
  await page.getByText('There is no token.').waitFor()
  await tabTo(page, 'New token')
  await enterDialog(page, 'New token')
  await page.keyboard.type('../x')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').getByText('"../x" is no node name').waitFor()
  await page.getByLabel('Names of devices').fill('gw-*')
  await page.keyboard.press('Enter')
  await page.getByText('meshlet join https://').waitFor()
  assert.equal((await rig.hub.registry.tokens())[0]?.nodes, 'gw-*')
  await escapeDialog(page, 'New token')
  await page.getByRole('cell', { name: 'gw-*', exact: true }).waitFor()
  assert.equal(await page.getByText('meshlet join').count(), 0)
})

test('what changes elsewhere is on the page within seconds, and a viewer is offered nothing to decide', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 40, Date.now())
  const browser = await startBrowser(t)
  const { page } = await openConsole(browser, rig, {
    screen: SCREENS[2]!,
    grants: [{ namespace: 'edge', role: 'viewer' }],
  })
  await page.goto('/devices/gw-00005')
  await page.getByText('SPIFFE id').waitFor()
  await page.getByText('Live', { exact: true }).waitFor()
  assert.equal(await page.getByRole('button', { name: /Revoke|Approve|Forget/ }).count(), 0)
  await rig.hub.registry.enrollments.revoke('gw-00005', Date.now())
  await page.locator('.pill', { hasText: 'revoked' }).waitFor()
  await rig.hub.registry.sessions.endOf('operator:root')
  await page.getByText('meshlet-hub login', { exact: true }).waitFor()
})
