/** Everything that can be decided can be decided without a mouse, and what happens is said to whoever does not see it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Page } from 'playwright-core'
import { seedDevices, seedEnrolment } from './fleet.ts'
import { openConsole, SCREENS, startBrowser, startConsoleHub } from './rig.ts'

const focused = (page: Page): Promise<string> =>
  page.evaluate(
    '(document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "").trim().slice(0, 60)',
  )

async function untilFocused(page: Page, name: string): Promise<void> {
  for (let i = 0; i < 250; i++) {
    if ((await focused(page)) === name) return
    await page.waitForTimeout(20)
  }
  assert.fail(`${name} has not got the focus; ${await focused(page)} has`)
}

/** Tab until the element of this name has the focus. */
async function tabTo(page: Page, name: string | RegExp, most = 60): Promise<void> {
  const seen: string[] = []
  for (let i = 0; i < most; i++) {
    await page.keyboard.press('Tab')
    const at = await focused(page)
    seen.push(at)
    if (typeof name === 'string' ? at === name : name.test(at)) return
  }
  assert.fail(`${String(name)} is not reached by Tab; there are: ${seen.join(' | ')}`)
}

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
  assert.equal(await focused(page), 'Devices', 'the heading of the new view has the focus')
  await tabTo(page, 'gw-00000')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowDown')
  assert.match(await focused(page), /^gw-00003/)
  await page.keyboard.press('End')
  await untilFocused(page, 'gw-new')
  await page.keyboard.press('Home')
  await untilFocused(page, 'gw-00000')
  await page.keyboard.press('PageDown')
  const after = await focused(page)
  assert.ok(after > 'gw-00005', after)
  await page.keyboard.press('Home')
  await untilFocused(page, 'gw-00000')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'gw-00000' }).waitFor()
  await page.getByText('SPIFFE id').waitFor()
  await tabTo(page, 'Revoke')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog', { name: 'Revoke gw-00000?' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.equal(await focused(page), 'Revoke', 'Escape leads back to where it was')
  await page.keyboard.press('Enter')
  await tabTo(page, 'Revoke', 4)
  await page.keyboard.press('Enter')
  await page.getByRole('status').getByText('gw-00000 is revoked.').waitFor()
  assert.equal((await rig.hub.registry.enrollments.byName('gw-00000'))?.state, 'revoked')
  await page.goBack()
  await page.getByRole('heading', { name: 'Devices' }).waitFor()
  assert.deepEqual(complaints, [])
})

test('a token is made by keyboard, and is shown once', async (t) => {
  const rig = await startConsoleHub(t)
  const browser = await startBrowser(t)
  const { page } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto('/enrolment')
  await page.getByText('There is no token.').waitFor()
  await tabTo(page, 'New token')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog', { name: 'New token' }).waitFor()
  await page.keyboard.type('../x')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').getByText('"../x" is no node name').waitFor()
  await page.getByLabel('Names of devices').fill('gw-*')
  await page.keyboard.press('Enter')
  await page.getByText('meshlet join https://').waitFor()
  assert.equal((await rig.hub.registry.tokens())[0]?.nodes, 'gw-*')
  await page.keyboard.press('Escape')
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
  await page.waitForTimeout(2_500)
  await rig.hub.registry.enrollments.revoke('gw-00005', Date.now())
  await page.locator('.pill', { hasText: 'revoked' }).waitFor()
  await rig.hub.registry.sessions.endOf('operator:root')
  await page.getByText('meshlet-hub login', { exact: true }).waitFor()
})
