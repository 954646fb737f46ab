/** Something is decided about a device; then the page shows what is. */
import { post } from '../api.ts'
import { toDevice } from '../router.ts'

export const decideAbout =
  (device: string, reload: () => void) =>
  (verb: string, body: object = {}) =>
  async (): Promise<void> => {
    await post(`${toDevice(device)}/${verb}`, body)
    reload()
  }
