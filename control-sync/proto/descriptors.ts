/** Descriptors of all .proto files, from one set and linked once: `npm run proto` makes the generated code ask here. */
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import type { GenFile } from '@bufbuild/protobuf/codegenv2'
import { base64Decode } from '@bufbuild/protobuf/wire'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { DESCRIPTOR_SET } from './gen/descriptor-set.ts'

const all = createFileRegistry(fromBinary(FileDescriptorSetSchema, base64Decode(DESCRIPTOR_SET)))

/** @param name as protoc knows it, e.g. envoy/config/core/v3/base.proto */
export function fileOf(name: string): GenFile { return all.getFile(name) as GenFile }
