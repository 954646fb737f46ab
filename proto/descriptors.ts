/**
 * Descriptors of all .proto files, linked once: `npm run proto` makes the generated code ask here. They are kept as
 * rows and not as the bytes of a FileDescriptorSet, which take longer to read, at every start.
 */
import { createFileRegistry } from '@bufbuild/protobuf'
import type { GenFile } from '@bufbuild/protobuf/codegenv2'
import { toFileDescriptorSet, type FileRow } from './descriptor-rows.ts'
import { ROWS } from './gen/descriptor-rows.ts'

const all = createFileRegistry(toFileDescriptorSet(JSON.parse(ROWS) as FileRow[]))

/** @param name as protoc knows it, e.g. envoy/config/core/v3/base.proto */
export function findFile(name: string): GenFile {
  return all.getFile(name) as GenFile
}
