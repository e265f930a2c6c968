// SPDX-License-Identifier: Apache-2.0
// Writes a WSDL for a chosen set of vim25 operations, derived by reflection from govmomi's Go types
// (Debian golang-github-vmware-govmomi-dev). vcsim itself serves no WSDL and oslo.vmware (suds) needs one.
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

var ops = []interface{}{
	methods.RetrieveServiceContentBody{}, methods.LoginBody{}, methods.LogoutBody{}, methods.SessionIsActiveBody{},
	methods.CurrentTimeBody{}, methods.TerminateSessionBody{},
	methods.RetrievePropertiesBody{}, methods.RetrievePropertiesExBody{}, methods.ContinueRetrievePropertiesExBody{}, methods.CancelRetrievePropertiesExBody{},
	methods.FindByInventoryPathBody{}, methods.FindByUuidBody{}, methods.CreateContainerViewBody{}, methods.DestroyViewBody{},
	methods.DeleteDatastoreFile_TaskBody{}, methods.MoveDatastoreFile_TaskBody{}, methods.CopyDatastoreFile_TaskBody{}, methods.MakeDirectoryBody{},
	methods.AcquireGenericServiceTicketBody{}, methods.CancelTaskBody{}, methods.SearchDatastore_TaskBody{}, methods.SearchDatastoreSubFolders_TaskBody{},
	methods.FindExtensionBody{}, methods.RegisterExtensionBody{}, methods.RefreshDatastoreBody{},
}

// reached only through xsi:type
var extra = []string{
	"ServiceContent", "TaskInfo", "TaskReasonUser", "DatastoreSummary", "DatastoreCapability", "DatastoreHostMount", "HostMountInfo",
	"LocalDatastoreInfo", "VmfsDatastoreInfo", "NasDatastoreInfo", "VsanDatastoreInfo", "DatastoreInfo", "ArrayOfManagedObjectReference", "ArrayOfDatastoreHostMount", "ArrayOfString",
	"MissingProperty", "InvalidLogin", "InvalidLocale", "NotAuthenticated", "NoPermission", "SecurityError", "SystemError", "InvalidArgument", "InvalidRequest", "InvalidType",
	"InvalidProperty", "InvalidName", "InvalidDatastore", "InvalidDatastorePath", "InvalidState", "FileFault", "FileNotFound", "FileAlreadyExists", "FileLocked", "CannotAccessFile",
	"CannotDeleteFile", "CannotCreateFile", "NoDiskSpace", "ManagedObjectNotFound", "RuntimeFault", "NotFound", "NotSupported", "NotImplemented", "RequestCanceled", "TaskInProgress",
	"ResourceInUse", "HostCommunication", "UnexpectedFault", "TooManyHosts", "DuplicateName", "MethodNotFound", "MethodFault", "VimFault", "LocalizedMethodFault",
	"HostDatastoreBrowserSearchResults", "ArrayOfHostDatastoreBrowserSearchResults", "FileInfo", "FolderFileInfo", "VmDiskFileInfo", "IsoImageFileInfo", "FileQuery", "FolderFileQuery",
	"VirtualDeviceFileBackingInfo", "Extension", "Description", "TraversalSpec", "SelectionSpec", "AboutInfo",
}

var (
	done  = map[string]string{}
	queue []reflect.Type
	tf    = types.TypeFunc()
	tTime = reflect.TypeOf(time.Time{})
)

func ref(t reflect.Type) string {
	for t.Kind() == reflect.Ptr {
		t = t.Elem()
	}
	switch {
	case t == tTime:
		return "xsd:dateTime"
	case t.Kind() == reflect.Interface:
		n := strings.TrimPrefix(t.Name(), "Base")
		if r, ok := tf(n); ok && n != t.Name() {
			return ref(r)
		}
		return "xsd:anyType"
	case t.Kind() == reflect.Struct:
		queue = append(queue, t)
		return "vim25:" + t.Name()
	case t.Kind() == reflect.String:
		if t.Name() != "string" {
			queue = append(queue, t)
			return "vim25:" + t.Name()
		}
		return "xsd:string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "xsd:boolean"
	case reflect.Int8, reflect.Uint8:
		return "xsd:byte"
	case reflect.Int16:
		return "xsd:short"
	case reflect.Int32, reflect.Int:
		return "xsd:int"
	case reflect.Int64:
		return "xsd:long"
	case reflect.Float32:
		return "xsd:float"
	case reflect.Float64:
		return "xsd:double"
	}
	panic("kind " + t.String())
}

func fields(t reflect.Type) (base, elems, attrs string, char bool) {
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		if f.Anonymous {
			base = ref(f.Type)
			continue
		}
		tag := strings.Split(f.Tag.Get("xml"), ",")
		name, opt, attr := tag[0], false, false
		if name == "" {
			name = f.Name
		}
		for _, o := range tag[1:] {
			opt = opt || o == "omitempty"
			attr = attr || o == "attr"
			char = char || o == "chardata"
		}
		ft := f.Type
		if attr {
			attrs += fmt.Sprintf(`<attribute name=%q type="xsd:string"/>`, strings.TrimPrefix(name, "_"))
			continue
		}
		if char {
			continue
		}
		occ := ""
		if ft.Kind() == reflect.Ptr || opt {
			occ = ` minOccurs="0"`
		}
		rt := ""
		if ft.Kind() == reflect.Slice && ft.Elem().Kind() != reflect.Uint8 {
			occ = ` minOccurs="0" maxOccurs="unbounded"`
			et := ft.Elem()
			if et.Kind() == reflect.Slice {
				rt = "xsd:base64Binary"
			} else {
				rt = ref(et)
			}
		} else if ft.Kind() == reflect.Slice {
			rt = "xsd:base64Binary"
		} else {
			rt = ref(ft)
		}
		elems += fmt.Sprintf(`<element name=%q type=%q%s/>`, name, rt, occ)
	}
	return
}

func emit(t reflect.Type) {
	if _, ok := done[t.Name()]; ok {
		return
	}
	done[t.Name()] = "" // reserve
	if t.Kind() == reflect.String {
		done[t.Name()] = fmt.Sprintf(`<simpleType name=%q><restriction base="xsd:string"/></simpleType>`, t.Name())
		return
	}
	base, e, a, char := fields(t)
	switch {
	case char:
		done[t.Name()] = fmt.Sprintf(`<complexType name=%q><simpleContent><extension base="xsd:string">%s</extension></simpleContent></complexType>`, t.Name(), a)
	case base != "":
		done[t.Name()] = fmt.Sprintf(`<complexType name=%q><complexContent><extension base=%q><sequence>%s</sequence>%s</extension></complexContent></complexType>`, t.Name(), base, e, a)
	default:
		done[t.Name()] = fmt.Sprintf(`<complexType name=%q><sequence>%s</sequence>%s</complexType>`, t.Name(), e, a)
	}
}

func main() {
	var el, msg, port, bind string
	for _, o := range ops {
		bt := reflect.TypeOf(o)
		n := strings.TrimSuffix(bt.Name(), "Body")
		for _, fn := range []string{"Req", "Res"} {
			f, ok := bt.FieldByName(fn)
			if !ok {
				panic(n)
			}
			_, e, _, _ := fields(f.Type.Elem())
			en := n
			if fn == "Res" {
				en += "Response"
			}
			el += fmt.Sprintf("<element name=%q><complexType><sequence>%s</sequence></complexType></element>\n", en, e)
			m := n + map[string]string{"Req": "RequestMsg", "Res": "ResponseMsg"}[fn]
			msg += fmt.Sprintf("<message name=%q><part name=\"parameters\" element=\"vim25:%s\"/></message>\n", m, en)
		}
		port += fmt.Sprintf("<operation name=%q><input message=\"vim25:%sRequestMsg\"/><output message=\"vim25:%sResponseMsg\"/></operation>\n", n, n, n)
		bind += fmt.Sprintf("<operation name=%q><soap:operation soapAction=\"urn:vim25/6.5\" style=\"document\"/><input><soap:body use=\"literal\"/></input><output><soap:body use=\"literal\"/></output></operation>\n", n)
	}
	for _, x := range extra {
		if t, ok := tf(x); ok {
			queue = append(queue, t)
		} else {
			fmt.Fprintln(os.Stderr, "no type", x)
		}
	}
	for len(queue) > 0 {
		t := queue[0]
		queue = queue[1:]
		emit(t)
	}
	var names []string
	for n := range done {
		names = append(names, n)
	}
	sort.Strings(names)
	fmt.Print(`<?xml version="1.0" encoding="UTF-8"?>
<definitions targetNamespace="urn:vim25" xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:vim25="urn:vim25" xmlns:xsd="http://www.w3.org/2001/XMLSchema">
<types><schema targetNamespace="urn:vim25" xmlns="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">
`)
	for _, n := range names {
		fmt.Println(done[n])
	}
	fmt.Print(el, "</schema></types>\n", msg, "<portType name=\"VimPortType\">\n", port, "</portType>\n<binding name=\"VimBinding\" type=\"vim25:VimPortType\"><soap:binding style=\"document\" transport=\"http://schemas.xmlsoap.org/soap/http\"/>\n", bind,
		"</binding>\n<service name=\"VimService\"><port binding=\"vim25:VimBinding\" name=\"VimPort\"><soap:address location=\"https://localhost/sdk/vimService\"/></port></service>\n</definitions>\n")
	fmt.Fprintln(os.Stderr, len(names), "types", len(ops), "operations")
}
