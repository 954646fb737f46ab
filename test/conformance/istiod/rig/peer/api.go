// What an API server does and client-go's fake does not (it says so: "subresources are not handled accurately"), for Istio's kinds and the Gateway API's:
//
//   - an update of the object leaves its status alone, an update of /status everything but the status. The fake stores what it is given, whole;
//     crdclient gives metadata and either spec or status. So a health report took the address of a WorkloadEntry, and the next connect its health.
//   - every write makes a new resourceVersion, and one that was written for an older version is refused. istiod's autoregistration counts on that
//     when a node comes back while its going is written down.
package main

import (
	"fmt"
	"reflect"
	"strconv"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	gatewayfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"

	istiofake "istio.io/client-go/pkg/clientset/versioned/fake"
	"istio.io/istio/pkg/kube"
)

// behaveAsServer is called before anybody uses the client. Reactions run one at a time (Fake.Invokes holds a lock).
func behaveAsServer(client kube.Client) {
	istio := client.Istio().(*istiofake.Clientset)
	behave(&istio.Fake, istio.Tracker())
	gateway := client.GatewayAPI().(*gatewayfake.Clientset)
	behave(&gateway.Fake, gateway.Tracker())
	mayRead(client)
}

func behave(fake *clienttesting.Fake, store clienttesting.ObjectTracker) {
	version := 0
	next := func(obj runtime.Object) {
		version++
		access(obj).SetResourceVersion(strconv.Itoa(version))
	}

	fake.PrependReactor("create", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		next(action.(clienttesting.CreateAction).GetObject())
		return false, nil, nil // stored by the fake's own reaction
	})
	fake.PrependReactor("update", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		given := action.(clienttesting.UpdateAction).GetObject()
		old, err := store.Get(action.GetResource(), action.GetNamespace(), access(given).GetName())
		if err != nil {
			return true, nil, err
		}
		if err := unchanged(action.GetResource(), old, access(given).GetResourceVersion()); err != nil {
			return true, nil, err
		}
		stored, statusFrom := given.DeepCopyObject(), old
		if action.GetSubresource() == "status" {
			stored, statusFrom = old.DeepCopyObject(), given
		}
		if status := reflect.ValueOf(stored).Elem().FieldByName("Status"); status.IsValid() {
			status.Set(reflect.ValueOf(statusFrom.DeepCopyObject()).Elem().FieldByName("Status"))
		}
		next(stored)
		return true, stored, store.Update(action.GetResource(), stored, action.GetNamespace())
	})
	fake.PrependReactor("delete", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		remove := action.(clienttesting.DeleteActionImpl)
		only := remove.DeleteOptions.Preconditions
		if only == nil || only.ResourceVersion == nil {
			return false, nil, nil
		}
		old, err := store.Get(remove.GetResource(), remove.GetNamespace(), remove.GetName())
		if err != nil {
			return true, nil, err
		}
		if err := unchanged(remove.GetResource(), old, *only.ResourceVersion); err != nil {
			return true, nil, err
		}
		return false, nil, nil
	})
}

// unchanged says no when the object is not in that version; none at all means any.
func unchanged(of schema.GroupVersionResource, old runtime.Object, version string) error {
	if version == "" || version == access(old).GetResourceVersion() {
		return nil
	}
	return errors.NewConflict(of.GroupResource(), access(old).GetName(), fmt.Errorf("it is in version %s, not %s", access(old).GetResourceVersion(), version))
}

func access(obj runtime.Object) metav1.Object {
	m, err := meta.Accessor(obj)
	check("metadata", err)
	return m
}
